# SPDX-License-Identifier: MIT
"""Jobs that a store has to have first: what waits for it, in what order, and what its failure does."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from core.conftest import Talk, memory_ends
from speak import packets, request

from fastgear.base.alloc import live_allocations

WRITTEN, FAILED, FAILED_FOR_GOOD, REFUSING = 0, 1, 2, 3
Connect = Callable[[], Talk]


@pytest.fixture
def core(make_core: Callable[..., Any]) -> Any:
    return make_core(durable=True)


def created(number: int) -> tuple[str, tuple[bytes, ...]]:
    return ("JOB_CREATED", (b"H:test:%d" % number,))


def refused(complaint: bytes) -> tuple[str, tuple[bytes, ...]]:
    return ("ERROR", (b"QUEUE_ERROR", complaint))


def submit(client: Talk, unique: bytes = b"", data: bytes = b"x", kind: str = "SUBMIT_JOB_BG") -> Any:
    return client.say(kind, b"f", unique, data)


def worker_of(talk: Connect, function: bytes = b"f") -> Talk:
    worker = talk()
    worker.send("CAN_DO", function)
    return worker


def test_it_is_acknowledged_and_given_out_once_it_is_written(core: Any, talk: Connect) -> None:
    client, worker = talk(), worker_of(talk)
    assert submit(client) == []
    assert worker.say("GRAB_JOB") == [("NO_JOB", ())]
    assert core.hand_over() == [("submitted", 1, b"f", b"", b"", b"x", 1, 0.0, 0)]
    assert core.hand_over() is None, "one batch at a time"
    assert worker.say("GRAB_JOB") == [("NO_JOB", ())]
    worker.send("PRE_SLEEP")
    core.written()
    assert client.heard() == [created(1)]
    assert worker.heard() == [("NOOP", ())]
    assert worker.say("GRAB_JOB") == [("JOB_ASSIGN", (b"H:test:1", b"f", b"x"))]
    worker.send("WORK_COMPLETE", b"H:test:1", b"")
    assert core.hand_over() == [("attempt", 1, 1), ("ended", 1)]
    assert not core.all_is_written
    core.written()
    assert core.all_is_written


def test_foreground_jobs_do_not_wait(core: Any, talk: Connect) -> None:
    client, worker = talk(), worker_of(talk)
    assert client.say("SUBMIT_JOB", b"f", b"", b"x") == [created(1)]
    assert worker.say("GRAB_JOB")[0][0] == "JOB_ASSIGN"
    assert core.hand_over() is None


@pytest.mark.parametrize(
    ("kind", "more", "priority"),
    [
        ("SUBMIT_JOB_HIGH_BG", (), 0),
        ("SUBMIT_JOB_LOW_BG", (), 2),
        ("SUBMIT_JOB_EPOCH", (b"1700000100",), 1),
        ("SUBMIT_REDUCE_JOB_BACKGROUND", (b"r", b"a"), 1),
    ],
)
def test_every_kind_of_background_job_is_durable(
    core: Any, talk: Connect, kind: str, more: tuple[bytes, ...], priority: int
) -> None:
    client = talk()
    assert client.say(kind, b"f", b"u", *more, b"x") == []
    ((what, number, function, unique, reducer, workload, found, due, attempts),) = core.hand_over()
    assert (what, number, function, unique, workload, found, attempts) == (
        "submitted",
        1,
        b"f",
        b"u",
        b"x",
        priority,
        0,
    )
    assert (reducer, due) == (b"r" if "REDUCE" in kind else b"", 1700000100.0 if "EPOCH" in kind else 0.0)
    core.written()
    assert client.heard() == [created(1)]


def test_a_job_of_later_is_not_given_out_before(core: Any, talk: Connect) -> None:
    client, worker = talk(), worker_of(talk)
    client.send("SUBMIT_JOB_EPOCH", b"f", b"", b"1700000100", b"x")
    core.hand_over()
    core.written()
    assert worker.say("GRAB_JOB") == [("NO_JOB", ())]
    core.advance(101)
    assert worker.say("GRAB_JOB")[0][0] == "JOB_ASSIGN"


def test_the_answers_of_a_connection_keep_their_order(core: Any, talk: Connect) -> None:
    """Whatever their kind, and over several batches; others hear theirs at once."""
    client, other, worker = talk(), talk(), worker_of(talk)
    client.send("ECHO_REQ", b"1")
    client.send("SUBMIT_JOB", b"f", b"", b"foreground")
    assert len(client.heard()) == 2
    worker.say("GRAB_JOB")
    submit(client)
    core.hand_over()
    client.send("ECHO_REQ", b"2")
    worker.send("WORK_COMPLETE", b"H:test:1", b"result")
    submit(client)
    submit(client)
    client.send("ECHO_REQ", b"3")
    assert other.say("ECHO_REQ", b"at once") == [("ECHO_RES", (b"at once",))]
    assert client.heard() == []
    core.written()
    assert client.heard() == [created(2), ("ECHO_RES", (b"2",)), ("WORK_COMPLETE", (b"H:test:1", b"result"))]
    assert [kind for kind, *_ in core.hand_over()] == ["submitted", "submitted"]
    core.written()
    assert client.heard() == [created(3), created(4), ("ECHO_RES", (b"3",))]
    assert client.say("ECHO_REQ", b"4") == [("ECHO_RES", (b"4",))]


def test_text_commands_wait_as_well(core: Any, talk: Connect) -> None:
    client = talk()
    client.core.receive(client.id, request("SUBMIT_JOB_BG", b"f", b"", b"x") + b"version\n")
    assert core.sent(client.id) == b""
    core.hand_over()
    core.written()
    assert core.sent(client.id).endswith(b"OK test\n")


def test_a_large_answer_that_waits_goes_on_by_reference(core: Any, talk: Connect) -> None:
    client = talk()
    submit(client)
    data = bytes(range(256)) * 1000
    client.send("ECHO_REQ", data)
    submit(client)
    core.hand_over()
    core.written()
    assert client.heard() == [created(1), ("ECHO_RES", (data,)), created(2)]
    assert core.all_is_written


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 100000])
def test_workloads_of_any_size_get_there(core: Any, talk: Connect, size: int) -> None:
    client, worker = talk(), worker_of(talk)
    data = bytes(i * 7 % 256 for i in range(size))
    submit(client, data=data)
    submit(client, b"u", b"after it")
    records = core.hand_over()
    assert [record[5] for record in records] == [data, b"after it"]
    core.written()
    assert worker.say("GRAB_JOB")[0][1][2] == data


# -- jobs that are the same ---------------------------------------------------------------------------------------------


def test_a_second_submission_of_a_job_that_is_being_stored_waits_too(core: Any, talk: Connect) -> None:
    first, second, third = talk(), talk(), talk()
    submit(first, b"u")
    assert submit(second, b"u") == []
    assert len(core.hand_over()) == 1
    assert submit(third, b"u") == []
    core.written()
    assert first.heard() == second.heard() == [created(1)]
    assert third.heard() == [], "it came after the batch"
    assert core.hand_over() is None
    assert core.next_due() == 0
    core.advance()
    assert third.heard() == [created(1)]
    assert core.all_is_written


def test_a_foreground_job_becomes_durable(core: Any, talk: Connect) -> None:
    client, other, worker = talk(), talk(), worker_of(talk)
    client.send("SUBMIT_JOB", b"f", b"u", b"x")
    assert worker.say("GRAB_JOB")[0][0] == "JOB_ASSIGN"
    assert submit(other, b"u") == []
    client.leave()
    worker.send("WORK_COMPLETE", b"H:test:1", b"")
    assert core.hand_over() == [("submitted", 1, b"f", b"u", b"", b"x", 1, 0.0, 1), ("ended", 1)]
    core.written()
    assert other.heard() == [created(1)]


def test_a_foreground_submission_of_a_durable_job_is_answered_at_once(core: Any, talk: Connect) -> None:
    client, other, worker = talk(), talk(), worker_of(talk)
    submit(client, b"u")
    assert other.say("SUBMIT_JOB", b"f", b"u", b"x") == [created(1)]
    core.hand_over()
    core.written()
    worker.say("GRAB_JOB")
    worker.send("WORK_COMPLETE", b"H:test:1", b"done")
    assert other.heard() == [("WORK_COMPLETE", (b"H:test:1", b"done"))]


# -- clients that leave -------------------------------------------------------------------------------------------------


def test_a_client_that_leaves_meanwhile_loses_no_job(core: Any, talk: Connect) -> None:
    client, worker = talk(), worker_of(talk)
    submit(client)
    client.send("ECHO_REQ", bytes(100000))
    client.leave()
    core.hand_over()
    core.written()
    assert worker.say("GRAB_JOB")[0][0] == "JOB_ASSIGN"
    assert core.waiting_output == 0


def test_one_that_cannot_be_sent_to_any_more_gets_nothing(core: Any, talk: Connect) -> None:
    client = talk()
    submit(client)
    client.send("ECHO_REQ", b"behind")
    core.deafen(client.id)
    core.hand_over()
    core.written()
    assert client.heard() == []
    assert core.waiting_output == 0


def test_what_it_says_after_that_is_answered_nowhere(core: Any, talk: Connect) -> None:
    client = talk()
    core.deafen(client.id)
    core.receive(client.id, request("SUBMIT_JOB_BG", b"f", b"", b"x") + b"maxqueue f 10\n")
    core.hand_over()
    core.written()
    assert core.waiting_output == 0


def test_cancelled_before_it_is_written(core: Any, talk: Connect) -> None:
    client, admin, worker = talk(), talk(), worker_of(talk)
    submit(client)
    core.hand_over()
    assert admin.text(b"cancel job H:test:1\n") == b"OK\r\n"
    core.written()
    assert client.heard() == [created(1)]
    assert worker.say("GRAB_JOB") == [("NO_JOB", ())]
    assert core.hand_over() == [("ended", 1)]
    core.written()


# -- trouble ------------------------------------------------------------------------------------------------------------


def test_a_failure_refuses_all_that_waits(core: Any, talk: Connect) -> None:
    client, other, worker = talk(), talk(), worker_of(talk)
    submit(client)
    core.hand_over()
    client.send("ECHO_REQ", b"between")
    submit(client)
    submit(other, b"u")
    core.written(FAILED, b"the disk is full")
    full = refused(b"the disk is full")
    assert client.heard() == [full, ("ECHO_RES", (b"between",)), full]
    assert other.heard() == [full]
    assert worker.say("GRAB_JOB") == [("NO_JOB", ())]
    assert submit(client) == [full], "until it is well again"
    assert client.say("SUBMIT_JOB", b"f", b"", b"foreground")[0][0] == "JOB_CREATED"
    assert core.counters["store_failures"] == 1


def test_after_a_failure_what_may_have_got_there_is_taken_back(core: Any, talk: Connect) -> None:
    client, worker = talk(), worker_of(talk)
    submit(client)
    core.hand_over()
    core.written()
    worker.say("GRAB_JOB")
    worker.send("WORK_COMPLETE", b"H:test:1", b"")
    submit(client)
    assert [record[0] for record in core.hand_over()] == ["attempt", "ended", "submitted"]
    core.written(FAILED, b"no")
    assert core.hand_over() == [("attempt", 1, 1), ("ended", 1), ("ended", 2)], "what is known of older jobs stays"
    core.written()
    client.heard()
    assert submit(client) == []
    core.hand_over()
    core.written()
    assert client.heard() == [created(3)], "and service is back"
    assert core.all_is_written


def test_a_store_that_has_no_room_still_hears_of_ends_and_is_asked_again(core: Any, talk: Connect) -> None:
    client, worker = talk(), worker_of(talk)
    submit(client)
    core.hand_over()
    core.written()
    client.heard()
    submit(client)
    core.hand_over()
    core.written(FAILED, b"full")
    assert client.heard() == [refused(b"full")]
    assert core.hand_over() == [("ended", 2)]
    core.written(REFUSING, b"still full")
    assert submit(client) == [refused(b"still full")]
    assert worker.say("GRAB_JOB")[0][0] == "JOB_ASSIGN"
    worker.send("WORK_COMPLETE", b"H:test:1", b"")
    assert core.hand_over() == [("attempt", 1, 1), ("ended", 1)]
    core.written(REFUSING, b"still full")
    assert core.hand_over() == [], "has it passed?"
    core.written(REFUSING, b"still full")
    commits = core.counters["commits"]
    assert core.hand_over() == []
    core.written()
    assert core.hand_over() is None and core.all_is_written and core.counters["commits"] == commits
    assert submit(client) == []
    core.hand_over()
    core.written()
    assert client.heard() == [created(3)]


def test_a_store_that_is_lost_takes_nothing_any_more(core: Any, talk: Connect) -> None:
    client, worker = talk(), worker_of(talk)
    submit(client)
    core.hand_over()
    core.written()
    worker.say("GRAB_JOB")
    assert submit(client) == [created(1)]
    core.hand_over()
    core.written(FAILED_FOR_GOOD, b"the store is lost")
    assert client.heard() == [refused(b"the store is lost")]
    worker.send("WORK_COMPLETE", b"H:test:1", b"")
    assert core.hand_over() is None
    assert submit(client) == [refused(b"the store is lost")]
    assert core.all_is_written, "as far as it ever will be"


def test_a_job_that_somebody_waits_for_goes_on_without_the_store(core: Any, talk: Connect) -> None:
    client, other, worker = talk(), talk(), worker_of(talk)
    submit(client, b"u")
    other.send("SUBMIT_JOB", b"f", b"u", b"x")
    core.hand_over()
    core.written(FAILED, b"no")
    assert client.heard() == [refused(b"no")]
    worker.say("GRAB_JOB")
    worker.send("WORK_COMPLETE", b"H:test:1", b"done")
    assert other.heard() == [created(1), ("WORK_COMPLETE", (b"H:test:1", b"done"))]


def test_a_foreground_job_that_was_to_become_durable_stays_one(core: Any, talk: Connect) -> None:
    client, other, worker = talk(), talk(), worker_of(talk)
    client.send("SUBMIT_JOB", b"f", b"u", b"x")
    submit(other, b"u")
    core.hand_over()
    core.written(FAILED, b"no")
    assert other.heard() == [refused(b"no")]
    worker.say("GRAB_JOB")
    worker.send("WORK_COMPLETE", b"H:test:1", b"done")
    assert client.heard()[-1] == ("WORK_COMPLETE", (b"H:test:1", b"done"))
    assert core.hand_over() == [("ended", 1)], "should some of it have got there"


# -- bounds -------------------------------------------------------------------------------------------------------------


def test_submissions_wait_while_too_much_is_on_its_way(make_core: Callable[..., Any]) -> None:
    core = make_core(durable=True, max_journal=1000)
    client, other = Talk(core), Talk(core)
    for _ in range(10):
        submit(client, data=bytes(200))
    assert core.is_held(client.id)
    assert other.say("SUBMIT_JOB", b"f", b"", b"x")[0][0] == "JOB_CREATED", "those of others do not"
    heard = []
    for _ in range(10):
        if core.hand_over() is not None:
            core.written()
        heard += client.heard()
    assert [name for name, _ in heard] == ["JOB_CREATED"] * 10
    assert not core.is_held(client.id)
    assert core.all_is_written


def test_memory_is_given_back(core: Any, talk: Connect) -> None:
    before = core.memory
    client = talk()
    for size in (10, 100000):
        submit(client, data=bytes(size))
    core.hand_over()
    submit(client)
    core.written(FAILED, b"no")
    while core.hand_over() is not None:
        core.written()
    assert core.memory == before
    assert core.all_is_written


def test_a_large_submission_without_memory_for_its_record_leaves_none_behind(make_core: Callable[..., Any]) -> None:
    """That a piece of the batch has no bytes does not mean that there is none."""
    for n in range(40):
        before = live_allocations()
        core = make_core(durable=True)
        client = core.connect()
        with memory_ends(n):
            for part in (slice(17_000), slice(17_000, None)):
                core.receive(client, request("SUBMIT_JOB_BG", b"f", b"", b"x" * 20_000)[part])
        for _ in range(2):
            if core.hand_over() is not None:
                core.written()
        core.close()
        assert live_allocations() == before, f"allocation {n}"


@pytest.mark.parametrize("outcome", [WRITTEN, FAILED, FAILED_FOR_GOOD, REFUSING])
def test_every_allocation_may_fail_without_harm(make_core: Callable[..., Any], outcome: int) -> None:
    for n in range(60):
        core = make_core(durable=True)
        ids = [core.connect(), core.connect()]
        with memory_ends(n):
            core.receive(ids[1], request("CAN_DO", b"f"))
            for data in (b"x", b"y" * 3000, b"z" * 40_000):
                for part in (slice(17_000), slice(17_000, None)):
                    if not core.is_closing(ids[0]):
                        core.receive(ids[0], request("SUBMIT_JOB_BG", b"f", b"u" + data[:1], data)[part])
                core.receive(ids[0], request("ECHO_REQ", data) if not core.is_closing(ids[0]) else b"")
            for _ in range(2):
                if core.hand_over() is not None:
                    core.written(outcome, b"no")
            core.receive(ids[1], request("GRAB_JOB_UNIQ") * 3)
        core.check()
        probe = core.connect()
        core.receive(probe, request("ECHO_REQ", b"alive"))
        assert packets(core.sent(probe)) == [("ECHO_RES", (b"alive",))]
        for id in ids:
            core.disconnect(id)
        core.close()


# -- attempts -----------------------------------------------------------------------------------------------------------


def test_a_job_that_is_lost_too_often_is_put_aside(make_core: Callable[..., Any]) -> None:
    core = make_core(durable=True, dead_after=3)
    client, waiter = Talk(core), Talk(core)
    submit(client, b"u")
    waiter.send("SUBMIT_JOB", b"f", b"u", b"x")
    core.hand_over()
    core.written()
    for _ in range(3):
        worker = worker_of(lambda: Talk(core))
        assert worker.say("GRAB_JOB")[0][0] == "JOB_ASSIGN"
        worker.leave()
    assert core.hand_over() == [("attempt", 1, 1), ("attempt", 1, 2), ("attempt", 1, 3), ("dead", 1)]
    assert waiter.heard()[-1] == ("WORK_FAIL", (b"H:test:1",))
    assert worker_of(lambda: Talk(core)).say("GRAB_JOB") == [("NO_JOB", ())]
    assert core.counters["dead"] == 1


def test_a_number_of_retries_counts_instead(make_core: Callable[..., Any]) -> None:
    core = make_core(durable=True, dead_after=5, job_retries=1)
    client = Talk(core)
    submit(client)
    core.hand_over()
    core.written()
    worker = worker_of(lambda: Talk(core))
    worker.say("GRAB_JOB")
    worker.leave()
    assert core.hand_over() == [("attempt", 1, 1), ("dead", 1)]


def test_a_stop_in_good_order_is_no_attempt(core: Any, talk: Connect) -> None:
    client, worker = talk(), worker_of(talk)
    submit(client)
    core.hand_over()
    core.written()
    worker.say("GRAB_JOB")
    core.uncount()
    assert core.hand_over() == [("attempt", 1, 1), ("attempt", 1, 0)]


# -- workloads that stay in the store -----------------------------------------------------------------------------------

DATA = [bytes([i]) * 600 for i in range(5)]


@pytest.fixture
def short(make_core: Callable[..., Any]) -> Any:
    """A core that keeps one of DATA in memory, with three jobs that are stored."""
    core = make_core(durable=True, store_memory=1000)
    client = Talk(core)
    for data in DATA[:3]:
        submit(client, data=data)
    core.hand_over()
    core.written()
    client.leave()
    return core


def assigned(number: int) -> tuple[str, tuple[bytes, ...]]:
    return ("JOB_ASSIGN", (b"H:test:%d" % number, b"f", DATA[number - 1]))


def test_what_is_over_the_limit_is_brought_when_a_worker_takes_it(short: Any) -> None:
    assert short.kept == 600
    worker = worker_of(lambda: Talk(short))
    assert worker.say("GRAB_JOB") == [assigned(1)]
    assert worker.say("GRAB_JOB") == []
    assert short.hand_over() == [("attempt", 1, 1), ("wanted", 2)]
    short.bring(2, DATA[1])
    short.written()
    assert worker.heard() == [assigned(2)]
    assert short.hand_over() == [("attempt", 2, 1)], "it counts once it was told"
    for number in (1, 2):
        worker.send("WORK_COMPLETE", b"H:test:%d" % number, b"")
    assert short.kept == 0


def test_grabs_that_come_together_are_answered_in_order(short: Any) -> None:
    worker = worker_of(lambda: Talk(short))
    short.receive(worker.id, request("GRAB_JOB") * 4 + request("ECHO_REQ", b"last"))
    found = worker.heard()
    for number in (2, 3):
        assert ("wanted", number) in short.hand_over()
        short.bring(number, DATA[number - 1])
        short.written()
        found += worker.heard()
    assert found == [assigned(1), assigned(2), assigned(3), ("NO_JOB", ()), ("ECHO_RES", (b"last",))]


def test_reports_do_not_wait_for_a_workload(short: Any) -> None:
    worker = worker_of(lambda: Talk(short))
    assert worker.say("GRAB_JOB") == [assigned(1)]
    short.receive(worker.id, request("GRAB_JOB") + request("WORK_COMPLETE", b"H:test:1", b""))
    assert short.kept == 0
    short.hand_over()
    short.bring(2, DATA[1])
    short.written()
    assert worker.heard() == [assigned(2)]


def test_what_a_worker_has_said_is_read_though_its_workload_does_not_come_and_nothing_can_be_sent_to_it(
    short: Any,
) -> None:
    """Or its end would not be read either, and its jobs stay with it."""
    worker, admin = worker_of(lambda: Talk(short)), Talk(short)
    assert worker.say("GRAB_JOB") == [assigned(1)]
    short.receive(worker.id, request("GRAB_JOB") + request("ECHO_REQ", b"x"))
    assert short.is_held(worker.id)
    short.deafen(worker.id)
    assert admin.text(b"cancel job H:test:2\n") == b"OK\r\n"
    short.turn()
    assert not short.is_held(worker.id)


def test_a_workload_that_there_is_no_memory_to_ask_for_is_asked_for_by_another_worker(short: Any) -> None:
    worker, other = worker_of(lambda: Talk(short)), worker_of(lambda: Talk(short))
    assert worker.say("GRAB_JOB") == [assigned(1)]
    assert short.hand_over() == [("attempt", 1, 1)]
    with memory_ends():
        worker.send("GRAB_JOB")
    assert short.is_doomed(worker.id)
    worker.leave()
    short.written()
    assert other.say("GRAB_JOB") == [assigned(1)], "it is the first one's no more"
    assert other.say("GRAB_JOB") == [] and ("wanted", 2) in short.hand_over()


def test_a_worker_that_leaves_meanwhile_costs_nothing(short: Any) -> None:
    first, second = worker_of(lambda: Talk(short)), worker_of(lambda: Talk(short))
    assert first.say("GRAB_JOB") == [assigned(1)]
    assert first.say("GRAB_JOB") == []
    first.leave()
    short.hand_over()
    short.bring(2, DATA[1])
    short.written()
    assert [second.say("GRAB_JOB") for _ in range(2)] == [[assigned(1)], [assigned(2)]]


@pytest.mark.parametrize("parks", [False, True])
def test_a_grab_whose_job_vanishes_gets_another_answer(short: Any, parks: bool) -> None:
    worker, admin = worker_of(lambda: Talk(short)), Talk(short)
    if parks:
        worker.say("OPTION_REQ", b"fastgear/wait")
    worker.say("GRAB_JOB")
    assert worker.say("GRAB_JOB") == []
    short.hand_over()
    for number in (3, 2):
        admin.text(b"cancel job H:test:%d\n" % number)
    short.advance(0.0)
    assert worker.heard() == ([] if parks else [("NO_JOB", ())])
    short.bring(2, DATA[1])
    short.written()
    submit(admin, data=b"small")
    short.hand_over()
    short.written()
    admin.heard()
    expected = [("JOB_ASSIGN", (b"H:test:4", b"f", b"small"))]
    assert (worker.heard() if parks else worker.say("GRAB_JOB")) == expected


def test_what_the_store_does_not_have_fails_alone(short: Any) -> None:
    worker = worker_of(lambda: Talk(short))
    worker.say("GRAB_JOB")
    assert worker.say("GRAB_JOB") == []
    short.hand_over()
    short.bring(2, None)
    short.written()
    assert worker.heard() == []
    assert ("wanted", 3) in short.hand_over()
    short.bring(3, DATA[2])
    short.written()
    assert worker.heard() == [assigned(3)]


def test_without_the_store_what_is_there_cannot_be_run(short: Any) -> None:
    worker = worker_of(lambda: Talk(short))
    assert worker.say("GRAB_JOB") == [assigned(1)]
    assert worker.say("GRAB_JOB") == []
    short.hand_over()
    short.written(FAILED_FOR_GOOD, b"lost")
    short.advance(0.0)
    assert worker.heard() == [("NO_JOB", ())]


def test_trouble_only_delays_it(short: Any) -> None:
    worker = worker_of(lambda: Talk(short))
    worker.say("GRAB_JOB")
    assert worker.say("GRAB_JOB") == []
    short.hand_over()
    short.written(FAILED, b"no")
    assert worker.heard() == []
    assert ("wanted", 2) in short.hand_over()
    short.bring(2, DATA[1])
    short.written()
    assert worker.heard() == [assigned(2)]


def test_jobs_that_are_named_by_their_workloads_stay(make_core: Callable[..., Any]) -> None:
    core = make_core(durable=True, store_memory=1000)
    client = Talk(core)
    for data in DATA:
        submit(client, b"-", data)
    core.hand_over()
    core.written()
    client.heard()
    assert core.kept == 5 * 600
    assert submit(client, b"-", DATA[4]) == [created(5)]


def test_abilities_may_go_while_a_workload_comes(short: Any) -> None:
    worker = worker_of(lambda: Talk(short))
    worker.say("GRAB_JOB")
    assert worker.say("GRAB_JOB") == []
    worker.send("RESET_ABILITIES")
    short.hand_over()
    short.bring(2, DATA[1])
    short.written()
    assert worker.heard() == [assigned(2)]


# -- at random ----------------------------------------------------------------------------------------------------------


class Play:
    """Clients and workers do this and that, while a store writes, fails, and sometimes has written all the same."""

    def __init__(self, core: Any, seed: int) -> None:
        self.core, self.random = core, random.Random(seed)
        self.stored: dict[int, bytes] = {}
        self.under_way: list[Any] | None = None
        self.asked: dict[Talk, list[str]] = {}
        self.heard: dict[Talk, list[Any]] = {}
        self.held: list[tuple[Talk, bytes]] = []
        self.workers: list[Talk] = []

    def client(self) -> Talk:
        if len(self.asked) < 4 or self.random.random() < 0.05:
            client = Talk(self.core)
            self.asked[client], self.heard[client] = [], []
            return client
        return self.random.choice(list(self.asked))

    def submit(self) -> None:
        kinds = ["SUBMIT_JOB_BG"] * 3 + ["SUBMIT_JOB", "SUBMIT_JOB_HIGH_BG", "SUBMIT_JOB_EPOCH"]
        kind, client = self.random.choice(kinds), self.client()
        due = (b"%d" % (int(self.core.time) + self.random.randrange(-5, 20)),) if kind == "SUBMIT_JOB_EPOCH" else ()
        unique = self.random.choice([b"", b"", b"a", b"b", b"-"])
        self.asked[client].append("job")
        client.send(kind, b"f", unique, *due, self.random.randbytes(self.random.choice([1, 10, 300, 20_000])))

    def echo(self) -> None:
        client = self.client()
        self.asked[client].append("echo")
        client.send("ECHO_REQ", bytes(self.random.choice([0, 30, 3000])))

    def leave(self) -> None:
        if self.asked and self.random.random() < 0.3:
            client = self.random.choice(list(self.asked))
            del self.asked[client], self.heard[client]
            client.leave()

    def grab(self) -> None:
        if len(self.workers) < 3:
            self.workers.append(worker_of(lambda: Talk(self.core)))
        worker = self.random.choice(self.workers)
        for name, args in worker.say("GRAB_JOB"):
            self.note(worker, name, args)

    def note(self, worker: Talk, name: str, args: tuple[bytes, ...]) -> None:
        if name == "JOB_ASSIGN":
            self.held.append((worker, args[0]))
            number = int(args[0].rpartition(b":")[2])
            assert self.stored.get(number, args[2]) == args[2]

    def report(self) -> None:
        if self.held:
            worker, handle = self.held.pop(self.random.randrange(len(self.held)))
            if self.random.random() < 0.8:
                worker.send("WORK_COMPLETE", handle, b"result")
            else:
                worker.send("WORK_FAIL", handle)

    def lose_worker(self) -> None:
        if self.workers and self.random.random() < 0.2:
            worker = self.workers.pop()
            self.held = [(who, handle) for who, handle in self.held if who is not worker]
            worker.leave()

    def cancel(self) -> None:
        if self.stored and self.random.random() < 0.3:
            admin = Talk(self.core)
            admin.text(b"cancel job H:test:%d\n" % self.random.choice(list(self.stored)))
            admin.leave()

    def write(self) -> None:
        if self.under_way is None:
            self.under_way = self.core.hand_over()
        elif self.random.random() < 0.8:
            self.write_well()
        else:
            if self.random.random() < 0.5:
                self.apply(self.under_way)
            self.under_way = None
            self.core.written(FAILED, b"no")

    def apply(self, records: list[Any]) -> None:
        for kind, number, *more in records:
            if kind == "submitted":
                self.stored[number] = more[3]
            elif kind in ("dead", "ended"):
                self.stored.pop(number, None)

    def advance(self) -> None:
        self.core.advance(self.random.choice([0.0, 0.1, 3.0]))

    def listen(self) -> None:
        """Each hears as many answers as it asked, in the order of its questions; results come whenever they do."""
        for client, heard in self.heard.items():
            heard += [name for name, _ in client.heard() if not name.startswith("WORK")]
            named = ["echo" if name == "ECHO_RES" else "job" for name in heard]
            assert named == self.asked[client][: len(named)]

    def settle(self) -> None:
        for _ in range(50):
            self.listen()  # which lets those go on who had to wait
            if self.core.all_is_written and self.under_way is None:
                return
            self.write_well()

    def write_well(self) -> None:
        records = self.under_way if self.under_way is not None else self.core.hand_over()
        self.under_way = None
        if records is not None:
            self.apply(records)
            for kind, number, *_ in records:
                if kind == "wanted":
                    self.core.bring(number, self.stored.get(number))
            self.core.written(WRITTEN)
        self.core.advance(0.0)
        for worker in self.workers:
            for name, args in worker.heard():
                self.note(worker, name, args)

    def known(self) -> set[int]:
        admin = Talk(self.core)
        lines = [line.split(b"\t") for line in admin.text(b"show jobs\n").split(b"\n")]
        admin.leave()
        return {int(line[0].rpartition(b":")[2]) for line in lines if len(line) == 4 and line[3] == b"1"}


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_the_store_has_the_jobs_that_the_server_has(make_core: Callable[..., Any], seed: int) -> None:
    limits = {"max_journal": [500, 1 << 26][seed % 2], "store_memory": [0, 1000, 30_000][seed % 3]}
    core = make_core(durable=True, dead_after=3, **limits)
    play = Play(core, seed)
    deeds = [play.submit] * 6 + [
        play.echo,
        play.grab,
        play.grab,
        play.report,
        play.report,
        play.write,
        play.write,
        play.write,
    ]
    deeds += [play.leave, play.lose_worker, play.cancel, play.advance]
    for step in range(400):
        play.random.choice(deeds)()
        if step % 7 == 0:
            play.listen()
        if step % 100 == 99:
            play.settle()
            assert play.known() == set(play.stored)
            assert all(len(heard) == len(play.asked[client]) for client, heard in play.heard.items())
    play.settle()
    for talk in [*play.asked, *play.workers]:
        talk.leave()
    while core.hand_over() is not None:
        core.written()
    assert core.waiting_output == 0
