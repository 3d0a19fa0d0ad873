# SPDX-License-Identifier: MIT
"""The loops of benchmarks/guards do what they are meant to, gone through a few times; how fast is not asked here."""

from __future__ import annotations

import pytest
from guards import paths
from guards.paths import PATHS, REFERENCES, request

HANDLE, UNIQUE, WORKLOAD = 18, 16, 16
CREATED = 12 + HANDLE
ASSIGNED = 12 + HANDLE + 1 + len("reverse") + 1 + WORKLOAD
COMPLETED = 12 + HANDLE + 1 + WORKLOAD


@pytest.mark.parametrize("path", [path for path in PATHS if not path.name.endswith("_1m")], ids=lambda path: path.name)
def test_a_path_can_be_gone_through_again_and_again(path: paths.Path) -> None:
    loop = path.make()
    assert loop.run(320) > 0
    assert loop.run(640) > 0


@pytest.mark.parametrize("name", [name for name in REFERENCES if not name.endswith("_1m")])
def test_a_reference_can_be_gone_through_again_and_again(name: str) -> None:
    reference = REFERENCES[name].make()
    assert reference.run(50) > 0
    assert reference.run(100) > 0


def test_every_path_has_a_reference() -> None:
    assert {path.beside for path in PATHS} == set(REFERENCES)


def test_foreground_jobs_are_submitted_assigned_and_completed() -> None:
    assert paths.foreground().run(320) == 320 * (CREATED + ASSIGNED + COMPLETED)


def test_a_sleeping_worker_is_woken_for_each_job() -> None:
    noop = no_job = 12
    assert paths.wakeups().run(10) == 10 * (CREATED + noop + ASSIGNED + COMPLETED + no_job)


@pytest.mark.parametrize("durable", [False, True])
def test_background_jobs_come_and_go_and_a_quarter_of_submissions_joins(durable: bool) -> None:
    loop = paths.background(durable=durable)
    once, twice = loop.run(320), loop.run(640)
    assert twice == 2 * once
    jobs = 320 * 24 // 32
    heard = 320 * CREATED + jobs * (ASSIGNED + UNIQUE + 1)
    assert once == heard if not durable else once > heard  # records are counted as well


def test_each_question_is_answered_for_a_job_that_is_there() -> None:
    answer = 12 + HANDLE + len("\x001\x000\x000\x000")
    assert paths.questions().run(320) == 320 * answer


def test_parser_sees_all_packets() -> None:
    some = request("SUBMIT_JOB", b"reverse", b"", b"x" * 5) + request("GRAB_JOB")
    submit, grab = 7 + 2 + len("reverse") + 5, 9
    loop = paths.loops("protocol").Parser(some)
    assert loop.run(1) == submit
    assert loop.run(4) >= 2 * (submit + grab)  # a GRAB_JOB leaves the arguments of the packet before it
