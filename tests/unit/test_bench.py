# SPDX-License-Identifier: MIT
"""The parts of a load: its histogram, its plan, and what it says to a server that is wrong, played by the test."""

from __future__ import annotations

import math
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from speak import cut, response

from fastgear import ConfigError, ConnectionLost, RemoteProtocolError, ServerError
from fastgear.bench.handles import Handles
from fastgear.bench.histogram import Histogram
from fastgear.bench.load import Load
from fastgear.bench.plan import Plan

# -- the histogram


def exactly(values: list[int], percent: float) -> int:
    """By nearest rank."""
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


@pytest.mark.parametrize("shape", ["uniform", "exponential", "lumps", "tiny", "wide"])
def test_percentiles_are_within_one_per_cent_of_the_exact_ones(shape: str) -> None:
    chance = random.Random(shape)
    make: dict[str, Callable[[], int]] = {
        "uniform": lambda: chance.randrange(10_000_000),
        "exponential": lambda: int(chance.expovariate(1 / 50_000)),
        "lumps": lambda: chance.choice([70_000, 71_000, 5_000_000_000]),
        "tiny": lambda: chance.randrange(200),
        "wide": lambda: int(2 ** chance.uniform(0, 62)),
    }
    values = [make[shape]() for _ in range(20_001)]
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    assert len(histogram) == len(values)
    assert (histogram.least, histogram.most) == (min(values), max(values))
    assert histogram.mean == pytest.approx(sum(values) / len(values))
    for percent in (0, 1, 25, 50, 90, 99, 99.9, 99.99, 100):
        assert histogram.percentile(percent) == pytest.approx(exactly(values, percent), rel=0.01, abs=0.5), percent


def test_a_histogram_takes_any_duration() -> None:
    histogram = Histogram()
    assert (histogram.percentile(50), histogram.least, histogram.most, histogram.mean) == (0, 0, 0, 0.0)
    edges = [0, 1, 63, 64, 65, 127, 128, 129, 2**62, 2**63 - 1]
    for value in [-5, *edges]:
        histogram.add(value)
    assert histogram.percentile(0) == histogram.least == 0
    assert histogram.percentile(100) == histogram.most == 2**63 - 1
    with pytest.raises(ValueError, match="from 0 to 100"):
        histogram.percentile(101)


def test_each_value_comes_back_within_its_bucket() -> None:
    for value in [*range(1, 3000), *(2**n + d for n in range(12, 62) for d in (-1, 0, 1))]:
        histogram = Histogram()
        for one in (0, value, 2**62):
            histogram.add(one)
        assert histogram.percentile(50) == pytest.approx(value, rel=0.008, abs=0.5)


# -- the plan


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "upside"}, "kind: 'upside' is not one of foreground"),
        ({"clients": 0}, "clients: at least 1"),
        ({"clients": 10**6}, "clients: 1,000,000 is out of range; it is from 0 to 60,000"),
        ({"workers": 0}, "workers: at least 1 is needed, or the jobs of a foreground load would never end"),
        ({"workers": 0, "kind": "drain"}, "workers: at least 1"),
        ({"seconds": 0.0}, "seconds: 0 is out of range"),
        ({"rate": -1.0}, "rate: -1 is out of range"),
        ({"count": 0}, "count: 0 is out of range"),
        ({"uniques": -1}, "uniques: -1 is out of range"),
        ({"workers": 2, "functions": 10, "abilities": 3}, "abilities: 2 workers with 3 functions each leave some of the 10"),
        ({"functions": 2, "abilities": 3}, "abilities: 3 of 2 functions"),
        ({"priorities": {"urgent": 1}}, "priorities: 'urgent' is not one of high, normal, low"),
        ({"mix": {"echo": 0}}, "mix: all of them are 0"),
        ({"mix": {"echo": -1}}, "mix: echo=-1 is out of range"),
        ({"kind": "drain", "rate": 100.0}, "drain: jobs of a drain"),
        ({"clients": 60_000, "pipeline": 1000}, "pipeline: 60,000,000 requests under way"),
    ],
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Plan(**fields)


def test_every_plan_is_bounded() -> None:
    assert Plan().limit_s == 5
    assert Plan(count=10).limit_s == 60
    assert Plan(kind="drain").most == 100_000
    assert Plan(rate=100.0, seconds=2.0).most == 200
    assert (Plan().depth, Plan(rate=1.0).depth, Plan(rate=1.0, pipeline=7).depth) == (1, 1000, 7)


# -- a load, and a server played by the test


class Stage:
    """A load of one connection, whose other end the test has."""

    def __init__(self, stack: ExitStack, role: str, **more: Any) -> None:
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
            stack.enter_context(sock)
        self.server = theirs
        self.load = stack.enter_context(Load("there", [b"f"], **{role: [ours.fileno()]}, payload=20, result=10, **more))

    def say(self, name: str, *args: bytes, pieces: int = 0) -> None:
        data = response(name, *args)
        for start in range(0, len(data), pieces or len(data)):
            self.server.sendall(data[start : start + (pieces or len(data))])
            if pieces:
                self.load.run(0.0)

    def hear(self) -> list[str]:
        self.load.run(0.0)
        packets, rest = cut(self.server.recv(1 << 20), b"\0REQ")
        assert not rest
        return [name for name, _ in packets]


@pytest.fixture
def stage() -> Iterator[Callable[..., Stage]]:
    with ExitStack() as stack:
        yield lambda role, **more: Stage(stack, role, **more)


PAYLOAD = bytes(33 + (i * 7 + (i >> 6)) % 90 for i in range(20))


@pytest.mark.parametrize("pieces", [0, 1, 7])
def test_a_client_s_request_is_finished_by_its_result(stage: Callable[..., Stage], pieces: int) -> None:
    one = stage("clients", pipeline=2)
    one.load.begin(3)
    assert one.hear() == ["SUBMIT_JOB", "SUBMIT_JOB"]
    one.say("JOB_CREATED", b"H:1", pieces=pieces)
    one.say("JOB_CREATED", b"H:2", pieces=pieces)
    one.say("WORK_COMPLETE", b"H:2", PAYLOAD[:10], pieces=pieces)
    assert one.hear() == ["SUBMIT_JOB"]
    assert one.load.waiting == 2
    one.say("WORK_COMPLETE", b"H:1", PAYLOAD[:10])
    one.say("JOB_CREATED", b"H:3")
    one.say("WORK_COMPLETE", b"H:3", PAYLOAD[:10])
    assert one.load.run(0.0)
    assert len(one.load.latencies) == one.load.counts["finished"] == 3


def acknowledged(one: Stage) -> None:
    one.load.begin(10)
    one.hear()
    one.say("JOB_CREATED", b"H:1")
    one.load.run(0.0)


WRONG: list[tuple[tuple[Any, ...], str]] = [
    (("WORK_COMPLETE", b"H:1", PAYLOAD[:9]), "there sent WORK_COMPLETE with 9 bytes where there should be 10"),
    (("WORK_COMPLETE", b"H:1", b"?" * 10), "sent WORK_COMPLETE with other bytes than it was given"),
    (("WORK_COMPLETE", b"H:9", PAYLOAD[:10]), "the result of H:9, a job that this client does not wait for"),
    (("WORK_FAIL", b"H:1"), "sent WORK_FAIL, which does not belong there"),
    (("JOB_CREATED", b"H:2"), "sent JOB_CREATED, which does not belong there"),
    (("ECHO_RES", b"?"), "sent ECHO_RES, which does not belong there"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG)
def test_a_wrong_answer_is_a_sentence(stage: Callable[..., Stage], words: tuple[Any, ...], sentence: str) -> None:
    one = stage("clients")
    acknowledged(one)
    one.say(*words)
    with pytest.raises(RemoteProtocolError, match=sentence):
        one.load.run(0.0)


def test_a_result_that_comes_twice_is_a_mistake(stage: Callable[..., Stage]) -> None:
    one = stage("clients")
    acknowledged(one)
    one.say("WORK_COMPLETE", b"H:1", PAYLOAD[:10])
    one.load.run(0.0)
    one.say("WORK_COMPLETE", b"H:1", PAYLOAD[:10])
    with pytest.raises(RemoteProtocolError, match="the result of H:1"):
        one.load.run(0.0)


def test_a_handle_that_comes_twice_is_a_mistake(stage: Callable[..., Stage]) -> None:
    one = stage("clients", kinds=(0, 1, 0), pipeline=2, handles=Handles())
    one.load.begin(10)
    one.hear()
    one.say("JOB_CREATED", b"H:1")
    one.say("JOB_CREATED", b"H:1")
    with pytest.raises(RemoteProtocolError, match="acknowledged, gave out or answered H:1 twice"):
        one.load.run(0.0)


@pytest.mark.parametrize(("kind", "name"), [(0, "SUBMIT_JOB"), (1, "SUBMIT_JOB_BG"), (2, "ECHO_REQ")])
def test_a_refusal_ends_its_request_where_that_is_wanted(stage: Callable[..., Stage], kind: int, name: str) -> None:
    one = stage("clients", kinds=[kind == number for number in range(3)], handles=Handles(), refusable=True)
    one.load.begin(2)
    assert one.hear() == [name]
    one.say("ERROR", b"QUEUE_ERROR", b"no more")
    assert one.hear() == [name]
    one.say("ERROR", b"QUEUE_ERROR", b"no more")
    assert one.load.run(0.0)
    counts = one.load.counts
    assert (counts["sent"], counts["refused"]) == (2, 2)
    assert not any(counts[what] for what in ("finished", "jobs", "background", "acknowledged"))
    assert len(one.load.latencies) == one.load.waiting == 0
    one.load.begin(1)
    assert one.hear() == [name]
    for _ in range(2):
        one.say("ERROR", b"QUEUE_ERROR", b"once too often")
    with pytest.raises(RemoteProtocolError, match="sent ERROR, which does not belong there"):
        one.load.run(0.0)


def test_no_other_error_is_a_refusal(stage: Callable[..., Stage]) -> None:
    one = stage("clients", refusable=True)
    one.load.begin(1)
    one.say("ERROR", b"QUEUE_ERRORS", b"no more")
    with pytest.raises(ServerError, match="QUEUE_ERRORS: no more"):
        one.load.run(0.0)


def test_an_error_and_an_end_have_sentences(stage: Callable[..., Stage]) -> None:
    one = stage("clients")
    one.load.begin(1)
    one.say("ERROR", b"QUEUE_FULL", b"no more")
    with pytest.raises(ServerError, match="QUEUE_FULL: no more"):
        one.load.run(0.0)
    one = stage("clients")
    one.load.begin(1)
    one.server.close()
    with pytest.raises(ConnectionLost, match="a connection to there broke under the load"):
        one.load.run(0.0)
    one = stage("clients")
    one.server.sendall(b"HTTP/1.1 200 OK\r\n")
    one.load.begin(1)
    with pytest.raises(RemoteProtocolError, match="no Gearman packet"):
        one.load.run(0.0)


def test_a_worker_grabs_answers_and_sleeps(stage: Callable[..., Stage]) -> None:
    one = stage("workers", grabs=2, taking=True)
    one.load.settle()
    assert one.hear() == ["CAN_DO", "ECHO_REQ"]
    one.say("ECHO_RES", b"fastgear bench")
    assert one.load.run(0.0)
    one.load.begin(2)
    assert one.hear() == ["GRAB_JOB", "GRAB_JOB"]
    one.say("JOB_ASSIGN", b"H:1", b"f", PAYLOAD)
    assert one.hear() == ["WORK_COMPLETE", "GRAB_JOB"]
    one.say("NO_JOB")
    one.say("NO_JOB")
    assert one.hear() == ["PRE_SLEEP"]
    one.say("NOOP")
    assert one.hear() == ["GRAB_JOB", "GRAB_JOB"]
    one.say("JOB_ASSIGN", b"H:2", b"f", PAYLOAD)
    assert one.load.run(0.0)


def test_a_job_too_many_or_too_short_is_a_mistake(stage: Callable[..., Stage]) -> None:
    for workload, words in (
        (PAYLOAD, "gave out 1 jobs, and there were 0"),
        (b"short", "with 5 bytes where there should be 20"),
    ):
        one = stage("workers", taking=False)
        one.load.begin(1)
        one.say("JOB_ASSIGN", b"H:1", b"f", workload)
        with pytest.raises(RemoteProtocolError, match=words):
            one.load.run(0.0)


def test_a_job_that_is_given_out_twice_is_a_mistake(stage: Callable[..., Stage]) -> None:
    one = stage("workers", grabs=2, taking=True, handles=Handles())
    one.load.begin(10)
    one.say("JOB_ASSIGN", b"H:1", b"f", PAYLOAD)
    one.say("JOB_ASSIGN", b"H:1", b"f", PAYLOAD)
    with pytest.raises(RemoteProtocolError, match="gave out or answered H:1 twice"):
        one.load.run(0.0)


def test_in_an_open_loop_time_without_room_counts(stage: Callable[..., Stage]) -> None:
    one = stage("clients", kinds=(0, 0, 1), pipeline=1, interval_ns=1e6)
    one.load.begin(20)
    while one.load.elapsed_s < 0.03:
        one.load.run(0.01)
    assert one.load.counts["sent"] == 1  # nobody answered, and there was room for one
    one.load.give_up()
    assert len(one.load.latencies) == 20
    assert one.load.latencies.percentile(50) == pytest.approx(20e6, rel=0.5)


def test_without_memory_a_load_says_so(stage: Callable[..., Stage], failing: Callable[[int], None]) -> None:
    refused = 0
    for successes in range(40):
        failing(successes)
        try:
            for role in ("clients", "workers"):
                one = stage(role, pipeline=3, grabs=3, kinds=(1, 1, 0))
                one.load.settle()
                one.load.begin(3)
        except MemoryError:
            refused += 1
        failing(-1)
    assert 10 < refused < 40
