# SPDX-License-Identifier: MIT
"""``fastgear submit FUNCTION [DATA]``: one job, and its result on standard output."""

from __future__ import annotations

import argparse
import datetime
import sys
import time

from fastgear.cli.common import FAILED, OK, TIMED_OUT, USAGE, CommandError, add_server, note, servers
from fastgear.errors import JobException, JobFailed, ServerError
from fastgear.types import Priority

EXAMPLES = """\
examples:
  fastgear submit reverse hello
  fastgear submit wc < file
  fastgear submit --background --unique 42 --priority high mail "$(cat letter)"
  fastgear submit --at 2030-01-01T00:00 fireworks
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    add_server(parser, several=True)
    parser.add_argument("function")
    parser.add_argument("data", nargs="?", help="the workload; '-', or nothing with input redirected: standard input")
    parser.add_argument("-b", "--background", action="store_true", help="do not wait; print the handle")
    parser.add_argument("-I", "--priority", choices=[priority.value for priority in Priority], default="normal")
    parser.add_argument("-u", "--unique", help="jobs of one function and unique are one job while it lasts")
    parser.add_argument(
        "--at", metavar="TIME", help="ISO time (local), seconds since 1970, or +SECONDS from now; implies -b"
    )
    parser.add_argument("-t", "--timeout", type=float, help="seconds to wait for the result (default: for ever)")


def run(args: argparse.Namespace) -> int:
    from fastgear.client.client import Client

    workload = read_workload(args.data)
    at = parse_time(args.at) if args.at else None
    with Client(*servers(args), timeout=min(args.timeout or 30.0, 30.0)) as client:
        try:
            if args.background or at is not None:
                print(
                    client.submit_background(args.function, workload, unique=args.unique, priority=args.priority, at=at)
                )
                return OK
            return _wait(client, args, workload)
        except ServerError as error:
            raise CommandError(f"the server refused the job: {error.text} ({error.code})") from error


def _wait(client: object, args: argparse.Namespace, workload: bytes) -> int:
    """Print data and result as they come to standard output, warnings and progress to standard error."""
    from fastgear.client.client import Client

    assert isinstance(client, Client)
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    job = client.submit(args.function, workload, unique=args.unique, priority=args.priority)
    shown = _Shown()
    while not job.wait(0.2 if deadline is None else max(0.0, min(0.2, deadline - time.monotonic()))):
        shown.update(job.data, job.warnings, job.status.numerator, job.status.denominator)
        if deadline is not None and time.monotonic() >= deadline:
            raise CommandError(f"job {job.handle} was not done within {args.timeout:g} s; it goes on", TIMED_OUT)
    shown.update(job.data, job.warnings, job.status.numerator, job.status.denominator)
    try:
        _write(job.result(0))
    except JobException as error:
        raise CommandError(f"{error}\n{error.remote_traceback}".rstrip(), FAILED) from error
    except JobFailed as error:
        raise CommandError(str(error), FAILED) from error
    return OK


class _Shown:
    """What has been printed so far."""

    def __init__(self) -> None:
        self._data = self._warnings = 0
        self._status = (0, 0)

    def update(self, data: tuple[bytes, ...], warnings: tuple[bytes, ...], numerator: int, denominator: int) -> None:
        for piece in data[self._data :]:
            _write(piece)
        for warning in warnings[self._warnings :]:
            note(f"warning: {warning.decode('utf-8', 'replace')}")
        if (numerator, denominator) != self._status and sys.stderr.isatty():
            note(f"{numerator}/{denominator}")
        self._data, self._warnings, self._status = len(data), len(warnings), (numerator, denominator)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def read_workload(data: str | None) -> bytes:
    if data is not None and data != "-":
        return data.encode("utf-8", "surrogateescape")
    if data is None and sys.stdin.isatty():
        return b""
    return sys.stdin.buffer.read()


def parse_time(text: str) -> float | datetime.datetime | datetime.timedelta:
    try:
        if text.startswith("+"):
            return datetime.timedelta(seconds=float(text[1:]))
        if text.replace(".", "", 1).isdigit():
            return float(text)
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"--at: {text!r} is no time; write 2030-01-31T12:00, seconds since 1970, or +60", USAGE
        ) from None
