# SPDX-License-Identifier: MIT
"""The thread that writes to the store what the loop hands over, and tells the loop how it went. The loop never waits for it."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator

from fastgear.config import ServerConfig
from fastgear.errors import StoreError, StoreLost, StoreTrouble
from fastgear.server.changes import (
    FAILED,
    FAILED_FOR_GOOD,
    LOST,
    REFUSING,
    WRITTEN,
    answer_changes,
    bring_workload,
    take_changes,
)
from fastgear.server.loop import Loop
from fastgear.storage.store import Batch, ReplayedJob, Store
from fastgear.threads import Signal, SystemThread

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0
_CLOSING_S = 10.0  # for a store in trouble
_JOIN_S = 12.0  # for one that says nothing
_STEADY_S = 10.0  # so long it must have worked for the next trouble to be a new one
_UNTIL = "; background jobs are refused until it works again"
_log = logging.getLogger("fastgear.store")


def open_store(config: ServerConfig, numbers_from: int) -> Store | None:
    """The one that the configuration names. Raises StoreError when it cannot be used, StoreInUse when another process does.

    Jobs that come from a queue of gearmand's get numbers above `numbers_from`.
    """
    if not config.store:
        return None
    try:
        from fastgear.storage.sqlite import SqliteStore
    except ImportError as error:  # some builds of Python have no SQLite
        raise StoreError(f"{config.store} cannot be used: {error}") from error
    store = SqliteStore(
        config.store, durability=config.durability, gearmand_table=config.store_table, numbers_from=numbers_from
    )
    if store.imported:
        _log.warning("%s was gearmand's: its %d jobs are taken over", config.store, store.imported)
    return store


def take_over(store: Store, numbers_from: int) -> None:
    """What servers that are gone have left in a store of several, before our own jobs are read."""
    adopted = sum(map(len, store.adopt(numbers_from)))
    if adopted:
        _log.warning("jobs of servers that are gone are taken over: %d", adopted)


def stored_jobs(store: Store, config: ServerConfig) -> Iterator[list[ReplayedJob]]:
    """Those that are to be served, in order. One that was given out too often, and never ended, is put aside instead.

    It may be what ended the server.
    """
    limit = max(config.job_retries, 1) if config.job_retries >= 0 else config.dead_after
    lost = []
    for jobs in store.replay(config.store_memory or None):
        if limit:
            lost += [(job.number, LOST.format(job.attempts)) for job in jobs if job.attempts >= limit]
            jobs = [job for job in jobs if job.attempts < limit]
        if config.store_memory:
            jobs = [_with_what_names_it(store, job) for job in jobs]
        yield jobs
    put_aside(store, lost)


def put_aside(store: Store, jobs: list[tuple[int, str]]) -> None:
    """Those that are not tried any more, and why."""
    if not jobs:
        return
    now = time.time_ns()
    store.append(Batch(dead=[(number, reason, now) for number, reason in jobs]))
    _log.warning("jobs are put aside: %d; one of them since %s", len(jobs), jobs[0][1])


def _with_what_names_it(store: Store, job: ReplayedJob) -> ReplayedJob:
    """Jobs with the unique "-" are known by their workloads."""
    return job._replace(workload=store.workload(job.number)) if job.workload is None and job.unique == b"-" else job


class Writer:
    """Writes until the loop has ended, and closes the store then.

    Trouble is tried again by itself, at growing pauses of up to a second; what it says is logged once. After any other
    failure nothing is written any more: the store may be damaged.
    """

    def __init__(self, loop: Loop, store: Store, waits_for_all: bool = False) -> None:
        self._loop, self._store, self._waits_for_all = loop, store, waits_for_all
        self.failure: StoreError | None = None  # what was acknowledged and is lost at the end, if anything
        self._complaint = ""
        self._pause_s = _FIRST_PAUSE_S
        self._well_since = time.monotonic()
        self._ending = Signal()
        self._thread = SystemThread(self._run, "fastgear-store")

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait for the end, once the loop has ended: there are no more pauses then.

        A store that does not come back is left alone, unless all is written at its end only.
        """
        self._ending.set()
        ended = self._thread.join(_JOIN_S)
        while not ended and self._waits_for_all:
            _log.error("the store is still writing what it had to write at its end; waiting for it")
            ended = self._thread.join(_JOIN_S)
        if not ended:
            self.failure = StoreLost(
                f"the store has not come back for {_JOIN_S:g} s; jobs whose end it did not hear of will run again"
            )

    def _run(self) -> None:
        try:
            while (changes := take_changes(self._loop)) is not None:
                outcome = self._write(*changes)
                answer_changes(self._loop, outcome, self._complaint)
                if outcome in (FAILED, REFUSING):
                    self._ending.wait(self._pause_s)
                    self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        finally:
            if self._complaint:
                _log.error("the store had trouble to the end; jobs whose end it did not hear of will run again")
            self.close()

    def _write(self, batch: Batch, wanted: list[int]) -> int:
        """What is wanted comes first: to read may go well where to write does not, and a worker waits for it."""
        try:
            for number in wanted:
                self._bring(number)
            if batch:
                self._store.append(batch)
            unwell = "" if not self._complaint or batch.submitted else self._store.health()
        except StoreLost as error:
            return self._give_up(str(error))
        except StoreError as error:  # trouble, or one job that it cannot take, which will not be there again
            self._complain(str(error), _UNTIL)
            return FAILED
        except BaseException as error:  # whatever it is, a thread that died would let clients wait for ever
            _log.error("the store raised what a store must not:\n%s", traceback.format_exc())
            return self._give_up(_text(error))
        if unwell:
            self._complain(unwell, _UNTIL)
            return REFUSING
        if self._complaint:
            _log.warning("the store works again")
            self._well_since = time.monotonic()
        self._complaint = ""
        if time.monotonic() - self._well_since > _STEADY_S:
            self._pause_s = _FIRST_PAUSE_S
        return WRITTEN

    def _give_up(self, text: str) -> int:
        self._complain(text, "; background jobs are refused until the next start")
        return FAILED_FOR_GOOD

    def _bring(self, number: int) -> None:
        try:
            workload: bytes | None = self._store.workload(number)
        except KeyError:
            _log.error("the workload of job %d is not in the store any more; the job fails", number)
            workload = None
        bring_workload(self._loop, number, workload)

    def _complain(self, text: str, what_now: str) -> None:
        """Once for each change."""
        complaint = f"The store cannot take the job: {text}"
        if complaint != self._complaint:
            _log.error("the store has trouble: %s%s", text, what_now)
        self._complaint = complaint

    def close(self) -> None:
        """Close the store, in trouble for a while again and again; by itself for when the thread was never started."""
        until = time.monotonic() + _CLOSING_S
        while True:
            try:
                self._store.close()
                return
            except BaseException as error:
                if not isinstance(error, StoreTrouble) or time.monotonic() > until:
                    text = f"the store did not close well, and what it had not written is lost: {_text(error)}"
                    self.failure = StoreLost(text)
                    self.failure.__cause__ = error
                    return
                self._complain(str(error), "; it is to be closed, and is tried again for some seconds")
            time.sleep(_FIRST_PAUSE_S)


def _text(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__
