# SPDX-License-Identifier: MIT
"""``fastgear workers``: the connections of a server, clients among them."""

from __future__ import annotations

import argparse

from fastgear.cli.common import OK, add_json, add_server, admin, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server(parser)
    add_json(parser)
    parser.add_argument("--all", action="store_true", help="also connections that can do no function")


def run(args: argparse.Namespace) -> int:
    with admin(args) as client:
        rows = [row for row in client.workers() if row.functions or args.all]
        show(rows, {"fd": "FD", "address": "ADDRESS", "client_id": "ID", "functions": "FUNCTIONS"}, args.json)
    return OK
