# SPDX-License-Identifier: MIT
"""``fastgear store check|export|import FILE``: the file of a server's durable jobs, looked at, copied out and in."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import IO, TypeVar

from fastgear.cli.common import FAILED, OK, CommandError, note
from fastgear.storage.dump import dump, load
from fastgear.storage.salvage import SalvageView
from fastgear.storage.sqlite import SqliteStore
from fastgear.storage.view import SqliteView

EXAMPLES = """\
examples:
  fastgear store check jobs.db
  fastgear store export jobs.db jobs.json
  fastgear store export jobs.db | gzip > jobs.json.gz
  fastgear store export --salvage damaged.db jobs.json
  fastgear store import new.db < jobs.json

check and export may run beside the server; import may not
"""

Item = TypeVar("Item")
_REDRAW_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="read everything, and say what is wrong")
    export = actions.add_parser("export", help="write all jobs as lines of JSON, with bytes in base64")
    imports = actions.add_parser("import", help="put exported jobs into a store, new or not; all of them or none")
    for action in (check, export, imports):
        action.add_argument("file", metavar="FILE", help="the store")
    export.add_argument(
        "dump", metavar="DUMP", nargs="?", default="-", help="a file to make (default: standard output)"
    )
    export.add_argument("--salvage", action="store_true", help="pass over what is damaged, and say how much that is")
    imports.add_argument(
        "dump", metavar="DUMP", nargs="?", default="-", help="an exported file (default: standard input)"
    )
    imports.add_argument("--replace", action="store_true", help="let them take the place of jobs with the same numbers")


def run(args: argparse.Namespace) -> int:
    if args.action == "check":
        return _check(args.file)
    if args.action == "export":
        return _export(args.file, args.dump, args.salvage)
    return _import(args.file, args.dump, args.replace)


def _export(file: str, target: str, salvage: bool) -> int:
    """What was salvaged stays, even if it is not all."""
    with SalvageView(file) if salvage else SqliteView(file) as store:
        with _output(target) as output:
            for line in _counted(dump(store), "lines"):
                output.write(line + "\n")
        if isinstance(store, SalvageView) and store.gaps:
            raise CommandError(f"{store.gaps} places of {store.path} cannot be read; the rest was exported", FAILED)
    return OK


def _check(file: str) -> int:
    with SqliteView(file) as store:
        complaints = store.check()
        for complaint in complaints:
            print(complaint)
        if complaints:
            raise CommandError(f"{store.path} is damaged: {len(complaints)} complaints", FAILED)
        waiting, dead = store.count()
        print(f"{store.path} is well: {waiting} jobs wait, {dead} are dead")
    return OK


def _import(file: str, source: str, replace: bool) -> int:
    try:
        with _input(source) as lines, SqliteStore(file) as store:
            count = load(store, _counted(lines, "lines"), replace=replace)
    except KeyboardInterrupt:
        note("interrupted: nothing was imported")
        raise
    note(f"{count} jobs were imported")
    return OK


@contextlib.contextmanager
def _output(name: str) -> Iterator[IO[str]]:
    """A new file for nobody else to read, which is removed again when it does not become whole."""
    if name == "-":
        yield sys.stdout
        return
    with open(name, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        try:
            yield file
        except BaseException:
            os.unlink(name)
            raise


@contextlib.contextmanager
def _input(name: str) -> Iterator[Iterable[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    with open(name, "rb") as file:
        yield file


def _counted(items: Iterable[Item], unit: str) -> Iterator[Item]:
    """Pass the items on; a person who watches sees how many."""
    watched, drawn, count = sys.stderr.isatty(), time.monotonic(), 0
    try:
        for count, item in enumerate(items, 1):
            if watched and time.monotonic() - drawn > _REDRAW_S:
                drawn = time.monotonic()
                print(f"\r{count} {unit}", end="", file=sys.stderr, flush=True)
            yield item
    finally:
        if watched:
            print(f"\r{count} {unit}", file=sys.stderr, flush=True)
