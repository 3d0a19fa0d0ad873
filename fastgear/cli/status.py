# SPDX-License-Identifier: MIT
"""``fastgear status``: functions, their jobs and workers."""

from __future__ import annotations

import argparse

from fastgear.cli.common import OK, add_json, add_server, admin, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server(parser)
    add_json(parser)
    parser.add_argument("--priorities", action="store_true", help="show queued jobs by priority instead")


def run(args: argparse.Namespace) -> int:
    with admin(args) as client:
        if args.priorities:
            columns = {"name": "FUNCTION", "high": "HIGH", "normal": "NORMAL", "low": "LOW", "workers": "WORKERS"}
            show(client.priority_status(), columns, args.json)
        else:
            columns = {"name": "FUNCTION", "queued": "QUEUED", "running": "RUNNING", "workers": "WORKERS"}
            show(client.status(), columns, args.json)
    return OK
