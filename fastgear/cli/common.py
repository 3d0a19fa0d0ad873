# SPDX-License-Identifier: MIT
"""What the commands share: exit codes, the parser of arguments, the --server option, tables and JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from fastgear.addresses import default_servers
from fastgear.errors import ConfigError, ConnectionLost, ServerError

if TYPE_CHECKING:
    from fastgear.admin.text import AdminClient

OK = 0
FAILED = 1  # the job failed, the server refused, or could not start
USAGE = 2  # what was asked makes no sense
UNREACHABLE = 3  # no connection, or it broke
TIMED_OUT = 4
INTERRUPTED = 130  # Ctrl-C, as shells have it


class CommandError(Exception):
    """One sentence for standard error, and the exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class Parser(argparse.ArgumentParser):
    """Takes whole names of options only, and says what is wrong in one sentence, without the whole usage in front of it."""

    def __init__(self, **more: Any) -> None:
        more.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **more)

    def error(self, message: str) -> NoReturn:
        """In our words, where argparse's say less."""
        message = message.removeprefix("argument ").replace("expected one argument", "a value is missing")
        raise UsageError(re.sub("ignored explicit argument .*", "takes no value", message), self.prog)

    def parse_all(self, words: Sequence[str], namespace: argparse.Namespace | None = None) -> argparse.Namespace:
        """Raises UsageError for a word that is no option, too."""
        args, rest = self.parse_known_args(words, namespace)
        rest = [word for word in rest if word != "--"]
        if rest:
            command = getattr(args, "command", None)
            raise UsageError(f"unrecognised option {rest[0]!r}", f"{self.prog} {command}" if command else self.prog)
        return args


class UsageError(CommandError):
    """The arguments make no sense; `program` is whose they are."""

    def __init__(self, message: str, program: str) -> None:
        super().__init__(message, USAGE)
        self.program = program


def add_server(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    parser.add_argument(
        "-s",
        "--server",
        action="append",
        metavar="ADDRESS",
        help="host:port, [ipv6]:port or unix:/path"
        + (", may be given several times" if several else "")
        + " (default: GEARMAN_SERVERS, GEARMAN_SERVER, or 127.0.0.1:4730)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def servers(args: argparse.Namespace) -> tuple[str, ...]:
    return tuple(args.server or default_servers())


@contextmanager
def admin(args: argparse.Namespace) -> Iterator[AdminClient]:
    """An admin client of the one server that was named."""
    from fastgear.admin.text import AdminClient

    names = servers(args)
    if len(names) > 1:
        raise ConfigError(f"this command asks one server; choose one of {', '.join(names)} with --server")
    with AdminClient(names[0]) as client:
        try:
            yield client
        except ServerError as error:
            raise CommandError(f"{client.address} refused: {error.code} {error.text}".rstrip()) from error


def show(rows: Sequence[Any], columns: Mapping[str, str], as_json: bool) -> None:
    """Print dataclasses: those of their fields that `columns` titles, as a table, or all of them as JSON."""
    if as_json:
        print(json.dumps([_plain(row) for row in rows], indent=2))
        return
    lines = [list(columns.values())]
    lines += [[_cell(getattr(row, name)) for name in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    numeric = [all(isinstance(getattr(row, name), int) for row in rows) for name in columns]
    for line in lines:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _plain(row: Any) -> dict[str, Any]:
    plain = dataclasses.asdict(row)
    if hasattr(row, "queued"):
        plain["queued"] = row.queued
    return plain


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(_printable(str(item)) for item in value)
    return "-" if value is None else _printable(str(value))


def _printable(text: str) -> str:
    """A name may hold anything; a terminal gets only what it can show."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def note(message: str) -> None:
    """A line for the person, kept apart from what a program may read."""
    print(message, file=sys.stderr, flush=True)


def sentence(error: BaseException) -> str:
    """What went wrong, for a person."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ConnectionLost):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
