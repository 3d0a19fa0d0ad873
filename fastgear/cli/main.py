# SPDX-License-Identifier: MIT
"""The command ``fastgear``: reads the arguments, calls the command's module, turns errors into sentences and exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from fastgear.cli.common import (
    INTERRUPTED,
    TIMED_OUT,
    UNREACHABLE,
    USAGE,
    CommandError,
    Parser,
    UsageError,
    note,
    sentence,
)
from fastgear.errors import ConfigError, ConnectionLost, FastgearError, JobTimeout, LocalProtocolError
from fastgear.threads import expect_the_gil
from fastgear.version import VERSION

COMMANDS = {
    "serve": "run a job server",
    "worker": "run the functions of a Python module as a worker",
    "submit": "submit a job, and print its result",
    "status": "show functions, their jobs and workers",
    "workers": "show the connections of a server",
    "jobs": "show the jobs of a server",
    "cancel": "end a job",
    "maxqueue": "limit the jobs of a function",
    "store": "check, export and import durable jobs",
    "bench": "put a load on a server, and measure",
    "dead": "show jobs that are not tried any more, retry or drop them",
    "demo": "count the words of Python's standard library on all CPUs",
}

EXAMPLES = """\
examples:
  fastgear serve --listen 127.0.0.1:4730
  fastgear worker myapp.tasks
  echo hello | fastgear submit reverse
  fastgear status --json
  fastgear demo

exit codes: 0 well, 1 failed or refused, 2 wrong usage, 3 no connection, 4 out of time, 130 interrupted
"""


def make_parser(chosen: str | None) -> Parser:
    """With the arguments of the chosen command only: the others' modules are not imported."""
    parser = Parser(prog="fastgear", description="A Gearman job server, its client and its worker.", epilog=EXAMPLES)
    parser.add_argument("-V", "--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, help_text in COMMANDS.items():
        sub = commands.add_parser(name, help=help_text, description=help_text.capitalize() + ".")
        if name == chosen:
            importlib.import_module(f"fastgear.cli.{name}").add_arguments(sub)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    expect_the_gil()
    words = sys.argv[1:] if arguments is None else list(arguments)
    chosen = next((word for word in words if word in COMMANDS), None)
    parser = make_parser(chosen)
    try:
        args = parser.parse_all(words)
    except UsageError as error:
        note(f"{error.program}: {error}; see {error.program} --help")
        return USAGE
    if args.version:
        return _print_version()
    if args.command is None:
        parser.print_help()
        return USAGE
    return _run(args)


def _print_version() -> int:
    print(f"fastgear {VERSION}")
    return 0


def _run(args: argparse.Namespace) -> int:
    try:
        code: int = importlib.import_module(f"fastgear.cli.{args.command}").run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 0
    except (CommandError, FastgearError, OSError) as error:
        note(f"fastgear {args.command}: {sentence(error)}")
        return _code(error)


def _code(error: BaseException) -> int:
    if isinstance(error, CommandError):
        return error.code
    if isinstance(error, (ConfigError, LocalProtocolError)):
        return USAGE
    if isinstance(error, JobTimeout):
        return TIMED_OUT
    return UNREACHABLE if isinstance(error, ConnectionLost) else 1
