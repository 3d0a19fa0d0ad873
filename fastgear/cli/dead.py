# SPDX-License-Identifier: MIT
"""``fastgear dead list|retry|drop``: the jobs of a store that are not tried any more."""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastgear.cli.common import FAILED, OK, USAGE, CommandError, add_json, add_server, servers, show
from fastgear.errors import ServerError, StoreInUse
from fastgear.storage.sqlite import SqliteStore
from fastgear.storage.store import DeadJob
from fastgear.storage.view import SqliteView
from fastgear.types import Priority

if TYPE_CHECKING:
    from fastgear.client.client import Client

EXAMPLES = """\
examples:
  fastgear dead list --store jobs.db
  fastgear dead drop --store jobs.db H:here:1234
  fastgear dead drop --store jobs.db --older-than 30
  fastgear dead retry --store jobs.db --server 127.0.0.1:4730 --all

All of them may run beside the server that has the store. To let a job wait again then, it is submitted to the server anew.
"""

_DAY_NS = 86_400 * 10**9
_COLUMNS = {"handle": "HANDLE", "function": "FUNCTION", "attempts": "ATTEMPTS", "died": "DIED", "reason": "REASON"}


@dataclass(frozen=True)
class DeadRow:
    """A dead job as it is shown; bytes that are no UTF-8 are escaped as Python does, by surrogates."""

    handle: str
    number: int
    function: str
    unique: str
    priority: str
    attempts: int
    submitted: str
    died: str
    reason: str
    workload_bytes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    lists = actions.add_parser("list", help="show them, and why they died")
    retry = actions.add_parser("retry", help="let jobs wait again, with no attempts counted; prints their handles")
    drop = actions.add_parser("drop", help="forget jobs")
    for action in (lists, retry, drop):
        action.add_argument("--store", metavar="FILE", required=True, help="the store")
    for action in (retry, drop):
        action.add_argument("job", metavar="JOB", nargs="*", help="a handle, or the number in it")
        action.add_argument("--all", action="store_true", help="all dead jobs")
    drop.add_argument("--older-than", metavar="DAYS", type=_days, help="those that died so many days ago, or longer")
    lists.add_argument("--limit", type=_count, metavar="N", help="at most so many")
    add_json(lists)
    add_server(retry)


def _count(word: str) -> int:
    if not word.isascii() or not word.isdigit():
        raise argparse.ArgumentTypeError(f"{word!r} is no number of jobs")
    return int(word)


def _days(word: str) -> float:
    try:
        days = float(word)
    except ValueError:
        days = -1
    if not 0 <= days < 1e6:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of days")
    return days


def run(args: argparse.Namespace) -> int:
    if args.action == "list":
        with SqliteView(args.store) as store:
            show([_row(store.prefix, one) for one in store.dead(args.limit)], _COLUMNS, args.json)
        return OK
    ways = [bool(args.job), args.all, getattr(args, "older_than", None) is not None]
    if sum(ways) != 1:
        options = "--all or --older-than" if args.action == "drop" else "--all"
        raise CommandError(f"name jobs, or say {options}", USAGE)
    return _drop(args) if args.action == "drop" else _retry(args)


def _row(prefix: str, one: DeadJob) -> DeadRow:
    job = one.job
    return DeadRow(
        f"{prefix}{job.number}",
        job.number,
        _text(job.function),
        _text(job.unique),
        _priority(job.priority).value,
        job.attempts,
        _time(job.submitted_ns),
        _time(one.died_ns),
        one.reason,
        len(job.workload),
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _priority(number: int) -> Priority:
    return (Priority.HIGH, Priority.NORMAL, Priority.LOW)[number]


def _time(ns: int) -> str:
    """Local, with its zone."""
    return datetime.datetime.fromtimestamp(min(ns // 10**9, 253_402_000_000)).astimezone().isoformat()


def _chosen(store: SqliteView, args: argparse.Namespace) -> list[int]:
    if args.all:
        return [one.job.number for one in store.dead()]
    return [_number(word, store.prefix) for word in args.job]


def _number(word: str, prefix: str) -> int:
    digits = word.removeprefix(prefix)
    if not digits.isascii() or not digits.isdigit() or not 0 < int(digits) < 2**63:
        hint = f"; those begin with {prefix}" if prefix else ""
        raise CommandError(f"{word!r} is no handle of this store's jobs, nor a number{hint}", USAGE)
    return int(digits)


def _drop(args: argparse.Namespace) -> int:
    with SqliteView(args.store, writable=True) as store:
        if args.older_than is None:
            return _each(_chosen(store, args), store.drop_dead)
        before_ns = time.time_ns() - int(args.older_than * _DAY_NS)
        return _each([one.job.number for one in store.dead() if one.died_ns <= before_ns], store.drop_dead)


def _each(numbers: list[int], act: Callable[[int], object]) -> int:
    """All that are there, before it is said which ones are not."""
    missing = []
    for number in numbers:
        try:
            act(number)
        except KeyError:
            missing.append(str(number))
    if missing:
        raise CommandError(f"no dead job has the number {', '.join(missing)}", FAILED)
    return OK


def _retry(args: argparse.Namespace) -> int:
    with SqliteView(args.store, writable=True) as beside:
        numbers, prefix = _chosen(beside, args), beside.prefix
        try:
            store = SqliteStore(args.store)
        except StoreInUse as error:
            return _retry_beside(beside, numbers, args, error)
        with store:
            return _each(numbers, lambda number: print(f"{prefix}{store.retry_dead(number).number}"))


def _retry_beside(store: SqliteView, numbers: list[int], args: argparse.Namespace, in_use: StoreInUse) -> int:
    """The server knows its jobs by heart and would not look: it gets them by the usual way."""
    from fastgear.client.client import Client

    if not args.server:
        raise CommandError(f"{in_use}; say with --server where that server listens", USAGE)
    with Client(*servers(args)) as client:
        return _each(numbers, lambda number: _submit_again(store, client, number))


def _submit_again(store: SqliteView, client: Client, number: int) -> None:
    """The dead one goes when the server has said that it has the new one."""
    job, last = store.dead_job(number), store.last_number
    try:
        handle = client.submit_background(
            _text(job.function),
            job.workload,
            unique=job.unique,
            priority=_priority(job.priority),
            reducer=None if job.reducer is None else _text(job.reducer),
        )
    except ServerError as error:
        raise CommandError(f"the server refused job {number}: {error.text} ({error.code})") from error
    ours = handle.removeprefix(store.prefix)
    if ours.isdigit() and int(ours) <= last:
        raise CommandError(
            f"job {number} stays dead: {handle}, with the same function and unique, is there already", FAILED
        )
    store.drop_dead(number)
    print(handle, flush=True)
