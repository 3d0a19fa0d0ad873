# SPDX-License-Identifier: MIT
"""``fastgear maxqueue FUNCTION [LIMIT | HIGH NORMAL LOW]``: limit a function's jobs."""

from __future__ import annotations

import argparse

from fastgear.cli.common import OK, add_server, admin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server(parser)
    parser.add_argument("function")
    parser.add_argument(
        "limit", nargs="*", type=int, help="one number, or three: high, normal, low; none or 0: no limit"
    )


def run(args: argparse.Namespace) -> int:
    with admin(args) as client:
        client.max_queue(args.function, *args.limit)
    return OK
