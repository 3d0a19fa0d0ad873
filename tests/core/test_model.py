# SPDX-License-Identifier: MIT
"""The core against the model: random requests of random peers; after every step the same answers, and the invariants."""

from __future__ import annotations

import os
from typing import Any

import pytest
from core.model import Job, Model, Peer
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from speak import packets, request

from fastgear.base.alloc import counting, live_allocations

FUNCTIONS = st.sampled_from([b"a", b"b"])
UNIQUES = st.sampled_from([b"", b"", b"1", b"2", b"-"])
WORKLOADS = st.sampled_from([b"", b"x", b"y" * 20_000])
PICK = st.integers(0, 10_000)
SUBMITS = {(1, False): "SUBMIT_JOB", (1, True): "SUBMIT_JOB_BG", (0, False): "SUBMIT_JOB_HIGH",
           (0, True): "SUBMIT_JOB_HIGH_BG", (2, False): "SUBMIT_JOB_LOW", (2, True): "SUBMIT_JOB_LOW_BG"}  # fmt: skip


class Machine(RuleBasedStateMachine):
    """Every rule does one thing to both; `settle` compares what they said."""

    make_core: Any = None
    options: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.core = self.make_core(**self.options)
        self.model = Model(self.options.get("job_retries", -1), self.options.get("timeout_fails", False))
        self.ids: dict[Peer, int] = {}
        self.past: list[Job] = []
        self.epoch = int(self.core.time)

    def teardown(self) -> None:
        self.core.close()

    # -- helpers

    def peer(self, pick: int) -> Peer:
        return self.model.peers[pick % len(self.model.peers)]

    def send(self, peer: Peer, *words: Any) -> None:
        self.core.receive(self.ids[peer], request(*words))

    def job(self, pick: int) -> Job | None:
        jobs = list(self.model.jobs.values())
        return jobs[pick % len(jobs)] if jobs else None

    @property
    def has_peers(self) -> bool:
        return bool(self.model.peers)

    @invariant()
    def settle(self) -> None:
        """What each peer was sent is what the model said; NOOPs only to those who may get one."""
        for peer, id in list(self.ids.items()):
            said = packets(self.core.sent(id))
            assert [one for one in said if one[0] != "NOOP"] == peer.out
            peer.out.clear()
            noops = sum(name == "NOOP" for name, _ in said)
            assert noops <= 1
            if noops:
                assert peer.sleeping and peer.abilities
                peer.sleeping = False
        self.core.check()
        self.check_sleepers()

    def check_sleepers(self) -> None:
        """In words of the model: with one wake per queued job, never more able sleepers than that leaves over."""
        awake_or_woken = any(not peer.sleeping for peer in self.model.peers if peer.abilities)
        for function in self.model.functions.values():
            sleepers = [peer for peer in self.model.peers if peer.sleeping and function in peer.abilities]
            if function.queued and sleepers:
                assert awake_or_woken, f"{function.name!r} has jobs, all its workers sleep, and no NOOP is on its way"

    # -- rules

    @initialize(names=st.lists(st.sets(FUNCTIONS, min_size=1), min_size=2, max_size=4))
    def begin(self, names: list[set[bytes]]) -> None:
        for some in names:
            self.connect(some)

    @rule(names=st.sets(FUNCTIONS))
    def connect(self, names: set[bytes]) -> None:
        if len(self.model.peers) < 7:
            peer = self.model.connect()
            self.ids[peer] = self.core.connect()
            for name in sorted(names):
                self.send(peer, "CAN_DO", name)
                self.model.can_do(peer, name, 0)

    @precondition(lambda self: self.has_peers)
    @rule(pick=PICK)
    def disconnect(self, pick: int) -> None:
        peer = self.peer(pick)
        self.core.disconnect(self.ids.pop(peer))
        self.model.disconnect(peer)

    @precondition(lambda self: self.has_peers)
    @rule(pick=PICK, name=FUNCTIONS, unique=UNIQUES, workload=WORKLOADS, priority=st.integers(0, 2), bg=st.booleans())
    def submit(self, pick: int, name: bytes, unique: bytes, workload: bytes, priority: int, bg: bool) -> None:
        self.send(self.peer(pick), SUBMITS[priority, bg], name, unique, workload)
        self.model.submit(self.peer(pick), name, unique, workload, priority, bg)
        self.past += [job for job in self.model.jobs.values() if job not in self.past]

    @precondition(lambda self: self.has_peers)
    @rule(pick=PICK, name=FUNCTIONS, count=st.integers(2, 4), bg=st.booleans())
    def submit_some(self, pick: int, name: bytes, count: int, bg: bool) -> None:
        for _ in range(count):
            self.submit(pick=pick, name=name, unique=b"", workload=b"some", priority=1, bg=bg)

    @precondition(lambda self: self.has_peers)
    @rule(pick=PICK, name=FUNCTIONS, unique=UNIQUES, delay=st.integers(-2, 5))
    def submit_epoch(self, pick: int, name: bytes, unique: bytes, delay: int) -> None:
        due = int(self.model.now) + delay
        self.send(self.peer(pick), "SUBMIT_JOB_EPOCH", name, unique, b"%d" % (self.epoch + due), b"later")
        self.model.submit(self.peer(pick), name, unique, b"later", 1, True, due)

    @precondition(lambda self: self.has_peers)
    @rule(pick=PICK, name=FUNCTIONS, timeout=st.sampled_from([0, 0, 700, 2500]))
    def can_do(self, pick: int, name: bytes, timeout: int) -> None:
        if timeout:
            self.send(self.peer(pick), "CAN_DO_TIMEOUT", name, b"%d" % timeout)
        else:
            self.send(self.peer(pick), "CAN_DO", name)
        self.model.can_do(self.peer(pick), name, timeout / 1000)

    @precondition(lambda self: self.has_peers)
    @rule(pick=PICK, name=FUNCTIONS)
    def cant_do(self, pick: int, name: bytes) -> None:
        self.send(self.peer(pick), "CANT_DO", name)
        self.model.cant_do(self.peer(pick), name)

    @precondition(lambda self: self.has_peers)
    @rule(pick=PICK)
    def reset_abilities(self, pick: int) -> None:
        self.send(self.peer(pick), "RESET_ABILITIES")
        self.peer(pick).abilities.clear()

    @precondition(lambda self: self.has_peers)
    @rule(pick=PICK)
    def pre_sleep(self, pick: int) -> None:
        self.send(self.peer(pick), "PRE_SLEEP")
        self.peer(pick).sleeping = True

    @precondition(lambda self: self.has_peers)
    @rule(pick=PICK, kind=st.sampled_from(["GRAB_JOB", "GRAB_JOB_UNIQ", "GRAB_JOB_ALL"]))
    def grab(self, pick: int, kind: str) -> None:
        self.send(self.peer(pick), kind)
        self.model.grab(self.peer(pick), kind)

    @precondition(lambda self: any(peer.abilities for peer in self.model.peers))
    @rule(pick=PICK, count=st.integers(1, 3))
    def work(self, pick: int, count: int) -> None:
        """Who is able grabs, and sleeps where there is nothing: what most workers do most of the time."""
        able = [peer for peer in self.model.peers if peer.abilities]
        peer = able[pick % len(able)]
        for _ in range(count):
            self.send(peer, "GRAB_JOB_UNIQ")
            self.model.grab(peer, "GRAB_JOB_UNIQ")
        if not peer.held:
            self.send(peer, "PRE_SLEEP")
            peer.sleeping = True

    @precondition(lambda self: any(peer.held for peer in self.model.peers))
    @rule(pick=PICK)
    def die(self, pick: int) -> None:
        holders = [peer for peer in self.model.peers if peer.held]
        self.disconnect(pick=self.model.peers.index(holders[pick % len(holders)]))

    @precondition(lambda self: self.past and self.has_peers)
    @rule(
        pick=PICK,
        owner=st.booleans(),
        kind=st.sampled_from(["WORK_COMPLETE", "WORK_COMPLETE", "WORK_EXCEPTION", "WORK_DATA", "WORK_WARNING"]),
    )
    def report(self, pick: int, owner: bool, kind: str) -> None:
        job = self.past[pick % len(self.past)]
        peer = job.worker if owner and job.worker is not None else self.peer(pick)
        self.send(peer, kind, job.handle, b"outcome")
        self.model.report(peer, job, kind, b"outcome")

    @precondition(lambda self: self.past and self.has_peers)
    @rule(pick=PICK, owner=st.booleans())
    def fail(self, pick: int, owner: bool) -> None:
        job = self.past[pick % len(self.past)]
        peer = job.worker if owner and job.worker is not None else self.peer(pick)
        self.send(peer, "WORK_FAIL", job.handle)
        self.model.report(peer, job, "WORK_FAIL")

    @precondition(lambda self: self.past and self.has_peers)
    @rule(pick=PICK, done=st.integers(0, 9))
    def work_status(self, pick: int, done: int) -> None:
        job = self.past[pick % len(self.past)]
        peer = job.worker or self.peer(pick)
        self.send(peer, "WORK_STATUS", job.handle, b"%d" % done, b"9")
        self.model.report(peer, job, "WORK_STATUS", b"%d" % done, b"9")

    @precondition(lambda self: self.past and self.has_peers)
    @rule(pick=PICK)
    def get_status(self, pick: int) -> None:
        job = self.past[pick % len(self.past)]
        self.send(self.peer(pick), "GET_STATUS", job.handle)
        self.model.status(self.peer(pick), job.handle)

    @precondition(lambda self: self.has_peers and self.model.jobs)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        job = self.job(pick)
        assert job is not None
        admin = self.core.connect()
        self.core.receive(admin, b"cancel job " + job.handle + b"\r\n")
        assert self.core.sent(admin) == b"OK\r\n"
        self.core.disconnect(admin)
        self.model.cancel(job)

    @precondition(lambda self: self.has_peers)
    @rule(pick=PICK)
    def exceptions(self, pick: int) -> None:
        self.send(self.peer(pick), "OPTION_REQ", b"exceptions")
        self.peer(pick).exceptions = True
        self.peer(pick).say("OPTION_RES", b"exceptions")

    @precondition(lambda self: self.has_peers)
    @rule(name=FUNCTIONS, limit=st.integers(0, 3))
    def max_queue(self, name: bytes, limit: int) -> None:
        admin = self.core.connect()
        self.core.receive(admin, b"maxqueue %s %d\n" % (name, limit))
        assert self.core.sent(admin) == b"OK\r\n"
        self.core.disconnect(admin)
        self.model.function(name).max_queue = limit

    @rule(seconds=st.sampled_from([0.03, 0.06, 1.0, 3.0]))
    def advance(self, seconds: float) -> None:
        self.core.advance(seconds)
        self.model.advance(seconds)


@pytest.mark.parametrize(
    "options",
    [{}, {"job_retries": 0}, {"job_retries": 2}, {"timeout_fails": True}, {"worker_wakeup": 3}],
    ids=["default", "no second try", "two tries", "timeouts fail", "three woken"],
)
def test_core_answers_as_the_model_does(drivers: Any, options: dict[str, Any]) -> None:
    before = live_allocations()
    examples = int(os.environ.get("FASTGEAR_EXAMPLES", "150"))

    class Configured(Machine):
        make_core = staticmethod(drivers("core").Core)

    Configured.options = options
    run_state_machine_as_test(
        Configured,
        settings=settings(
            max_examples=examples,
            stateful_step_count=80,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    assert not counting or live_allocations() == before
