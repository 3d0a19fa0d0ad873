# SPDX-License-Identifier: MIT
"""``fastgear jobs``: the jobs of a server, queued and running."""

from __future__ import annotations

import argparse

from fastgear.cli.common import OK, add_json, add_server, admin, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    with admin(args) as client:
        show(client.jobs(), {"handle": "HANDLE", "retries": "RETRIES", "background": "BACKGROUND"}, args.json)
    return OK
