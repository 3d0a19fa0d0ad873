# SPDX-License-Identifier: MIT
"""The option fastgear/wait: a grab that finds no job waits for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from core.conftest import Talk
from speak import request

Connect = Callable[[], Talk]


def waiter(talk: Connect, *functions: bytes, grabs: int = 1) -> Talk:
    worker = talk()
    assert worker.say("OPTION_REQ", b"fastgear/wait") == [("OPTION_RES", (b"fastgear/wait",))]
    for function in functions or (b"f",):
        worker.send("CAN_DO", function)
    for _ in range(grabs):
        assert worker.say("GRAB_JOB_UNIQ") == []
    return worker


def jobs(heard: Any) -> list[bytes]:
    assert {name for name, _ in heard} <= {"JOB_ASSIGN_UNIQ"}
    return [args[3] for _, args in heard]


def test_a_waiting_grab_gets_the_job_when_it_comes(talk: Connect) -> None:
    client, worker = talk(), waiter(talk)
    client.say("SUBMIT_JOB", b"f", b"u", b"one")
    ((name, (_, function, unique, data)),) = worker.heard()
    assert (name, function, unique, data) == ("JOB_ASSIGN_UNIQ", b"f", b"u", b"one")
    client.say("SUBMIT_JOB", b"f", b"", b"two")
    assert worker.heard() == [], "one grab, one job"
    assert jobs(worker.say("GRAB_JOB_UNIQ")) == [b"two"]


def test_several_grabs_wait_for_several_jobs(talk: Connect) -> None:
    client, worker = talk(), waiter(talk, grabs=3)
    for i in range(5):
        client.say("SUBMIT_JOB_BG", b"f", b"", b"%d" % i)
    assert jobs(worker.heard()) == [b"0", b"1", b"2"]
    assert jobs(worker.say("GRAB_JOB_UNIQ")) == [b"3"]


def test_a_grab_that_waits_is_not_forgotten_for_one_that_comes_with_the_job(talk: Connect) -> None:
    """In the same turn: the job wakes the worker, whose next grab is read before the first one is answered."""
    client, worker = talk(), waiter(talk)
    worker.core.receive(worker.id, request("SUBMIT_JOB_BG", b"f", b"", b"1") + request("GRAB_JOB_UNIQ"))
    (created, *assigned) = worker.heard()
    assert created[0] == "JOB_CREATED" and jobs(assigned) == [b"1"]
    client.say("SUBMIT_JOB_BG", b"f", b"", b"2")
    assert jobs(worker.heard()) == [b"2"], "two grabs, two jobs"


def test_the_one_that_waits_since_last_gets_the_job_and_others_after_it(talk: Connect) -> None:
    client, cold, hot = talk(), waiter(talk), waiter(talk)
    client.say("SUBMIT_JOB_BG", b"f", b"", b"1")
    assert jobs(hot.heard()) == [b"1"] and cold.heard() == []
    client.say("SUBMIT_JOB_BG", b"f", b"", b"2")
    assert jobs(cold.heard()) == [b"2"]


@pytest.mark.parametrize("wakeup", [0, 1, 3])
def test_waiting_and_sleeping_workers_side_by_side(make_core: Callable[..., Any], wakeup: int) -> None:
    core = make_core(worker_wakeup=wakeup)
    client, sleeper = Talk(core), Talk(core)
    worker = waiter(lambda: Talk(core))
    sleeper.send("CAN_DO", b"f")
    sleeper.send("PRE_SLEEP")
    client.say("SUBMIT_JOB_BG", b"f", b"", b"x")
    core.advance(0.1)
    got = worker.heard() + sleeper.heard() + sleeper.say("GRAB_JOB_UNIQ")
    assert sum(name == "JOB_ASSIGN_UNIQ" for name, _ in got) == 1
    core.check()


def test_the_job_of_a_worker_that_left_goes_to_one_that_waits(talk: Connect) -> None:
    client, first, second = talk(), waiter(talk), waiter(talk)
    client.say("SUBMIT_JOB", b"f", b"", b"x")
    assert jobs(second.heard()) == [b"x"]
    second.leave()
    assert jobs(first.heard()) == [b"x"]


def test_a_worker_that_can_do_more_gets_what_waits(talk: Connect) -> None:
    client, worker = talk(), waiter(talk)
    client.say("SUBMIT_JOB_BG", b"g", b"", b"x")
    assert worker.heard() == []
    assert jobs(worker.say("CAN_DO", b"g")) == [b"x"]


def test_a_worker_that_cannot_do_it_any_more_gets_nothing_and_waits_on(talk: Connect) -> None:
    client, worker = talk(), waiter(talk, b"f", b"g")
    worker.send("CANT_DO", b"f")
    client.say("SUBMIT_JOB_BG", b"f", b"", b"x")
    assert worker.heard() == []
    client.say("SUBMIT_JOB_BG", b"g", b"", b"y")
    assert jobs(worker.heard()) == [b"y"]


def test_an_epoch_job_goes_to_a_waiting_grab_when_it_is_due(core: Any, talk: Connect) -> None:
    client, worker = talk(), waiter(talk)
    client.say("SUBMIT_JOB_EPOCH", b"f", b"", b"%d" % (core.time + 5), b"x")
    core.advance(4.9)
    assert worker.heard() == []
    core.advance(0.2)
    assert jobs(worker.heard()) == [b"x"]


def test_without_the_option_there_is_no_job(talk: Connect) -> None:
    worker = talk()
    worker.send("CAN_DO", b"f")
    assert worker.say("GRAB_JOB") == [("NO_JOB", ())]
