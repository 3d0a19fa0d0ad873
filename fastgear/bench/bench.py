# SPDX-License-Identifier: MIT
"""A load from its beginning to its end: connections, warm-up, what is measured, and what has to be true of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from fastgear.addresses import Address
from fastgear.base.alloc import counting
from fastgear.bench.connections import connect_many
from fastgear.bench.handles import Handles
from fastgear.bench.load import Load
from fastgear.bench.plan import PRIORITIES, Plan
from fastgear.bench.target import Reading, Target, cpu_ns, find_pid
from fastgear.errors import ConfigError, JobTimeout, RemoteProtocolError

__all__ = ["Latency", "Outcome", "ServerUse", "bench"]

_SLICE_S = 0.1
_CONNECT_S = 10.0
_TAKERS = 4  # connections that empty a queue which was only to be filled
_TAKER_GRABS = 64
_FILL = 64  # requests under way while a queue is filled
_TAKE_S = 600.0
_QUIET_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """In microseconds: of foreground jobs till their result, of background jobs and echoes till their acknowledgement, of a
    drain from grab to job."""

    p50: float
    p90: float
    p99: float
    p999: float
    most: float
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUse:
    """What the server's process took while it was measured."""

    pid: int
    cpu_us_per_request: float
    cpu_share: float  # 1: one CPU
    rss_before: int
    rss: int
    rss_after: int  # with the queue empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a load. `requests` are those that were answered within `seconds`."""

    kind: str
    server: str
    requests: int
    seconds: float
    per_s: float
    latency_us: Latency
    own_cpu_us_per_request: float
    own_cpu_share: float
    target: ServerUse | None
    assigned: int  # jobs that workers were given
    wakeups: int  # NOOPs that they got
    unanswered: int  # requests that were given up
    interrupted: bool
    check: str  # what was checked beside counts and lengths


@dataclass
class _Sample:
    """At an end of what is measured."""

    own_ns: int
    target: Reading | None


@dataclass
class _Measured:
    requests: int
    seconds: float
    assigned: int
    wakeups: int
    end: _Sample
    unanswered: int = 0


def bench(
    address: Address,
    plan: Plan,
    *,
    pid: int | None = None,
    check_handles: bool | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> Outcome:
    """Put the load on the server, and measure. `progress` is called now and then, with seconds and requests.

    A KeyboardInterrupt ends it early, with what there is. Raises ConnectionLost, ServerError, RemoteProtocolError when the
    server says something wrong, and JobTimeout when it says nothing any more.
    """
    with ExitStack() as stack:
        return _Run(address, plan, pid, check_handles, progress or (lambda seconds, requests: None), stack).run()


class _Run:
    def __init__(
        self,
        address: Address,
        plan: Plan,
        pid: int | None,
        check_handles: bool | None,
        progress: Callable[[float, int], None],
        stack: ExitStack,
    ) -> None:
        self._address = address
        self._plan = plan
        self._progress = progress
        self._stack = stack
        self._interrupted = False
        self._run_id = os.urandom(4).hex()
        coalesce = bool(plan.uniques)
        wanted = counting if check_handles is None else check_handles
        self._handles = Handles() if wanted and not coalesce else None
        self._target = Target(pid) if pid is not None else None

    def run(self) -> Outcome:
        plan = self._plan
        if plan.kind == "drain":
            return self._drain()
        load = self._load(plan, clients=plan.clients, workers=plan.workers if plan.has_workers else 0)
        fills = plan.kind == "background" and not plan.has_workers
        if plan.warm_up > 0 and not fills:
            self._warm_up(load)
        start = self._sample()
        measured = self._measure(load, plan)
        if measured.unanswered:
            return self._outcome(load, start, measured)  # nothing is known of those
        self._settle(load)
        self._check(load, fills)
        if fills and not plan.keep:
            self._take(load.counts["jobs"], _TAKERS, _TAKER_GRABS)
            self._let_memory_go()
        return self._outcome(load, start, measured)

    def _drain(self) -> Outcome:
        """Fill a queue, and let workers empty it: only the latter is measured."""
        plan = self._plan
        filling = replace(plan, kind="background", workers=0, sleepers=0, pipeline=max(plan.depth, _FILL))
        fill = self._load(filling, clients=plan.clients)
        fill.begin(plan.most, plan.limit_s)
        self._go_on(fill)
        self._settle(fill)
        start_counts = fill.counts
        self._check(fill, True)
        before = self._sample()
        load, measured = self._take(start_counts["jobs"], plan.workers, plan.grabs, plan.sleepers)
        self._let_memory_go()
        return self._outcome(load, before, measured)

    # -- steps

    def _load(
        self, plan: Plan, *, clients: int = 0, workers: int = 0, grabs: int | None = None, sleepers: int | None = None,
        taking: bool = False,
    ) -> Load:  # fmt: skip
        """Connected and settled."""
        sleepers = plan.sleepers if sleepers is None else sleepers
        sockets = connect_many(self._address, clients + workers + sleepers, _CONNECT_S, self._stack)
        if self._target is None and (pid := find_pid(self._address, sockets[0])) is not None:
            with suppress(ConfigError):
                self._target = Target(pid)
        fds = [sock.fileno() for sock in sockets]
        load = Load(
            self._address,
            [f"bench-{self._run_id}-{number}".encode() for number in range(plan.functions)],
            clients=fds[:clients],
            workers=fds[clients : clients + workers],
            sleepers=fds[clients + workers :],
            abilities=plan.abilities or 0,
            pipeline=plan.depth,
            grabs=grabs or plan.grabs,
            payload=plan.payload,
            result=plan.result_size,
            kinds=plan.weights,
            priorities=[plan.priorities.get(name, 0) for name in PRIORITIES],
            uniques=plan.uniques,
            unique_prefix=f"{self._run_id}-".encode(),
            seed=int(self._run_id, 16),
            handles=self._handles,
            taking=taking,
            interval_ns=1e9 / plan.rate if plan.rate else 0.0,
        )
        self._stack.callback(load.close)
        self._settle(load)
        return load

    def _warm_up(self, load: Load) -> None:
        plan = self._plan
        load.begin(max(1, int(plan.rate * plan.warm_up)) if plan.rate else plan.most, plan.warm_up)
        self._go_on(load)
        self._check(load, False)
        if self._interrupted:
            raise KeyboardInterrupt

    def _measure(self, load: Load, plan: Plan) -> _Measured:
        """Until the time is over, or all are answered; then wait for what is under way."""
        load.begin(plan.most, None if plan.rate else plan.limit_s)
        done = self._go_on(load, until_closing=True)
        if done or plan.rate or load.counts["sent"] >= plan.most:
            unanswered = 0 if done else self._go_on_or_give_up(load)
            counts = load.counts
            return _Measured(
                counts["finished"], load.busy_s, counts["assigned"], counts["wakeups"], self._sample(), unanswered
            )
        end, counts, seconds = self._sample(), load.counts, load.elapsed_s
        measured = _Measured(counts["finished"], seconds, counts["assigned"], counts["wakeups"], end)
        measured.unanswered = self._go_on_or_give_up(load)
        return measured

    def _go_on_or_give_up(self, load: Load) -> int:
        """Requests that had no answer. A closed loop may not have any; an open one may ask for more than can be done."""
        if not self._plan.rate:
            self._go_on(load)
            return 0
        give_up_at = time.monotonic() + self._plan.patience
        while not self._run_slice(load):
            if time.monotonic() > give_up_at:
                return max(1, load.give_up())
        return 0

    def _take(self, jobs: int, workers: int, grabs: int, sleepers: int = 0) -> tuple[Load, _Measured]:
        """Let workers empty the queue."""
        load = self._load(self._plan, workers=workers, grabs=grabs, sleepers=sleepers, taking=True)
        load.begin(jobs, _TAKE_S)
        self._go_on(load)
        counts, end = load.counts, self._sample()
        measured = _Measured(counts["assigned"], load.busy_s, counts["assigned"], counts["wakeups"], end)
        self._settle(load)
        if load.counts["assigned"] != jobs:
            raise RemoteProtocolError(f"{self._address} had {jobs:,} jobs, and gave out {load.counts['assigned']:,}")
        self._check_handles()
        return load, measured

    def _go_on(self, load: Load, *, until_closing: bool = False) -> bool:
        """Until all is done, or nothing more is to be sent. An interruption ends the sending."""
        sent_by_s = self._plan.most / self._plan.rate if self._plan.rate else float("inf")
        while not (done := self._run_slice(load)):
            if until_closing and (load.is_closing or load.elapsed_s > sent_by_s):
                return False
            self._progress(load.elapsed_s, load.counts["finished"])
            if load.waiting and load.silence_s > self._plan.patience and not (self._plan.rate and until_closing):
                raise JobTimeout(
                    f"{self._address} has said nothing for {self._plan.patience:g} s, and {load.waiting:,} requests or"
                    f" jobs are under way"
                )
        return done

    def _run_slice(self, load: Load) -> bool:
        try:
            return load.run(_SLICE_S)
        except KeyboardInterrupt:
            if self._interrupted:
                raise
            self._interrupted = True
            load.stop()
            return load.run(0.0)

    def _settle(self, load: Load) -> None:
        load.settle()
        deadline = time.monotonic() + self._plan.patience
        while not load.run(_SLICE_S):
            if time.monotonic() > deadline:
                raise JobTimeout(f"{self._address} does not answer ECHO_REQ within {self._plan.patience:g} s")

    def _let_memory_go(self) -> None:
        """A server may wait for a quiet moment before it gives memory back."""
        if self._target is not None:
            time.sleep(_QUIET_S)

    def _sample(self) -> _Sample:
        return _Sample(time.thread_time_ns(), self._target.try_read() if self._target is not None else None)

    # -- what has to be true

    def _check(self, load: Load, queued: bool) -> None:
        counts = load.counts
        if counts["acknowledged"] != counts["jobs"]:
            raise RemoteProtocolError(
                f"{self._address} acknowledged {counts['acknowledged']:,} of {counts['jobs']:,} jobs"
            )
        if counts["finished"] != counts["sent"]:
            raise RemoteProtocolError(f"{self._address} answered {counts['finished']:,} of {counts['sent']:,} requests")
        if not queued:
            self._check_handles()

    def _check_handles(self) -> None:
        if self._handles is not None and len(self._handles) and not self._interrupted:
            raise RemoteProtocolError(
                f"{self._address} gave out a job twice, or one that it never acknowledged: {len(self._handles):,} of them"
            )

    # -- figures

    def _outcome(self, load: Load, start: _Sample, measured: _Measured) -> Outcome:
        latencies, requests, seconds = load.latencies, measured.requests, max(measured.seconds, 1e-9)
        own_ns = measured.end.own_ns - start.own_ns
        return Outcome(
            kind=self._plan.kind,
            server=str(self._address),
            requests=requests,
            seconds=seconds,
            per_s=requests / seconds,
            latency_us=Latency(
                p50=latencies.percentile(50) / 1000,
                p90=latencies.percentile(90) / 1000,
                p99=latencies.percentile(99) / 1000,
                p999=latencies.percentile(99.9) / 1000,
                most=latencies.most / 1000,
                mean=latencies.mean / 1000,
            ),
            own_cpu_us_per_request=own_ns / 1000 / max(requests, 1),
            own_cpu_share=own_ns / 1e9 / seconds,
            target=self._use(start.target, measured.end.target, requests, seconds),
            assigned=measured.assigned,
            wakeups=measured.wakeups,
            unanswered=measured.unanswered,
            interrupted=self._interrupted,
            check="counts" if self._handles is None else "handles",
        )

    def _use(self, before: Reading | None, end: Reading | None, requests: int, seconds: float) -> ServerUse | None:
        after = self._target.try_read() if self._target is not None else None
        if self._target is None or before is None or end is None or after is None:
            return None
        spent = cpu_ns(before, end)
        return ServerUse(
            pid=self._target.pid,
            cpu_us_per_request=spent / 1000 / max(requests, 1),
            cpu_share=spent / 1e9 / seconds,
            rss_before=before.rss,
            rss=end.rss,
            rss_after=after.rss,
        )
