# SPDX-License-Identifier: MIT
"""``fastgear cancel HANDLE``: end jobs, queued or running; those who wait for one get a failure."""

from __future__ import annotations

import argparse

from fastgear.cli.common import OK, add_server, admin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server(parser)
    parser.add_argument("handle", nargs="+", help="as `submit --background` and `jobs` print it")


def run(args: argparse.Namespace) -> int:
    with admin(args) as client:
        for handle in args.handle:
            client.cancel(handle)
    return OK
