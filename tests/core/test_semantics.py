# SPDX-License-Identifier: MIT
"""Edges of the protocol that its document leaves open, one sentence each: docs/semantics.md has them beside gearmand's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from core.conftest import Talk
from speak import request

Connect = Callable[[], Talk]


def submit(client: Talk, function: bytes = b"f", unique: bytes = b"", data: bytes = b"x", kind: str = "") -> bytes:
    ((name, (handle,)),) = client.say(kind or "SUBMIT_JOB", function, unique, data)
    assert name == "JOB_CREATED"
    return handle


def grab(worker: Talk) -> tuple[bytes, ...]:
    return worker.say("GRAB_JOB")[0][1]


# -- submissions


def test_a_unique_counts_within_one_function(talk: Connect) -> None:
    client = talk()
    assert submit(client, b"f", b"u") != submit(client, b"g", b"u")
    assert client.say("GET_STATUS_UNIQUE", b"u")[0][1][1] == b"1"


def test_of_jobs_with_one_unique_in_several_functions_the_status_is_of_the_oldest_function(talk: Connect) -> None:
    client, worker = talk(), talk()
    submit(client, b"f", b"u")
    running = submit(client, b"g", b"u")
    worker.send("CAN_DO", b"g")
    assert grab(worker)[0] == running
    assert client.say("GET_STATUS_UNIQUE", b"u")[0][1][1:3] == (b"1", b"0")


def test_who_works_on_its_own_jobs_hears_of_the_job_before_it_is_woken(talk: Connect) -> None:
    both = talk()
    both.send("CAN_DO", b"f")
    both.send("PRE_SLEEP")
    assert [name for name, _ in both.say("SUBMIT_JOB", b"f", b"", b"x")] == ["JOB_CREATED", "NOOP"]


def test_who_joins_a_job_changes_neither_its_workload_nor_its_priority(talk: Connect) -> None:
    client, worker = talk(), talk()
    worker.send("CAN_DO", b"f")
    low = submit(client, unique=b"u", data=b"first", kind="SUBMIT_JOB_LOW_BG")
    normal = submit(client)
    assert submit(client, unique=b"u", data=b"second", kind="SUBMIT_JOB_HIGH_BG") == low
    assert grab(worker)[0] == normal
    assert grab(worker) == (low, b"f", b"first")


def test_a_running_job_can_be_joined_and_a_finished_one_cannot(talk: Connect) -> None:
    client, other, worker = talk(), talk(), talk()
    worker.send("CAN_DO", b"f")
    handle = submit(client, unique=b"u")
    grab(worker)
    assert submit(other, unique=b"u") == handle
    worker.send("WORK_COMPLETE", handle, b"done")
    assert client.heard() == other.heard() == [("WORK_COMPLETE", (handle, b"done"))]
    assert submit(other, unique=b"u") != handle


def test_who_submits_twice_hears_twice(talk: Connect) -> None:
    client, worker = talk(), talk()
    worker.send("CAN_DO", b"f")
    handle = submit(client, unique=b"u")
    assert submit(client, unique=b"u") == handle
    grab(worker)
    worker.send("WORK_COMPLETE", handle, b"done")
    assert client.heard() == [("WORK_COMPLETE", (handle, b"done"))] * 2


@pytest.mark.parametrize("epoch", [b"0", b"1"])
def test_an_epoch_that_has_passed_is_now(talk: Connect, epoch: bytes) -> None:
    client, worker = talk(), talk()
    worker.send("CAN_DO", b"f")
    ((_, (handle,)),) = client.say("SUBMIT_JOB_EPOCH", b"f", b"", epoch, b"x")
    assert grab(worker)[0] == handle


def test_a_job_that_waits_for_its_time_is_counted_known_joined_and_cancelled(core: Any, talk: Connect) -> None:
    client = talk()
    ((_, (handle,)),) = client.say("SUBMIT_JOB_EPOCH", b"f", b"u", b"%d" % (core.time + 100), b"x")
    assert client.text(b"status\n") == b"f\t1\t0\t0\n.\n"
    assert client.text(b"prioritystatus\n") == b"f\t0\t0\t0\t0\n.\n"
    assert client.say("GET_STATUS", handle)[0][1] == (handle, b"1", b"0", b"0", b"0")
    assert submit(client, unique=b"u", kind="SUBMIT_JOB_BG") == handle
    assert client.text(b"cancel job " + handle + b"\n") == b"OK\r\n"
    assert client.text(b"status\n") == b"f\t0\t0\t0\n.\n"
    core.advance(200)
    assert client.text(b"status\n") == b"f\t0\t0\t0\n.\n"


def test_the_limit_of_a_function_counts_running_jobs_and_no_joining(talk: Connect) -> None:
    client, worker = talk(), talk()
    client.text(b"maxqueue f 1\n")  # a function that nobody has named yet
    worker.send("CAN_DO", b"f")
    handle = submit(client, unique=b"u")
    grab(worker)
    assert client.say("SUBMIT_JOB", b"f", b"", b"x") == [("ERROR", (b"QUEUE_ERROR", b"Job queue is full"))]
    assert submit(client, unique=b"u") == handle


# -- workers


def test_a_worker_that_learns_more_in_its_sleep_is_woken_for_what_waits(talk: Connect) -> None:
    client, worker = talk(), talk()
    submit(client)
    assert worker.say("PRE_SLEEP") == []
    assert worker.say("CAN_DO", b"f") == [("NOOP", ())]


def test_a_grab_ends_a_sleep(talk: Connect) -> None:
    client, worker = talk(), talk()
    worker.send("CAN_DO", b"f")
    worker.send("PRE_SLEEP")
    assert worker.say("GRAB_JOB") == [("NO_JOB", ())]
    submit(client)
    assert worker.heard() == []
    assert worker.say("PRE_SLEEP") == [("NOOP", ())]


def test_numbers_of_a_status_are_passed_on_as_sent_and_read_as_far_as_they_are_numbers(talk: Connect) -> None:
    client, worker = talk(), talk()
    worker.send("CAN_DO", b"f")
    handle = submit(client)
    grab(worker)
    for sent, read in [((b"7", b"10"), (b"7", b"10")), ((b"7.5", b"many"), (b"7", b"0")), ((b"-1", b""), (b"0", b"0"))]:
        worker.send("WORK_STATUS", handle, *sent)
        assert client.heard() == [("WORK_STATUS", (handle, *sent))]
        assert client.say("GET_STATUS", handle)[0][1] == (handle, b"1", b"1", *read)


def test_a_job_that_lost_its_worker_begins_at_nothing(talk: Connect) -> None:
    client, worker = talk(), talk()
    worker.send("CAN_DO", b"f")
    handle = submit(client)
    grab(worker)
    worker.send("WORK_STATUS", handle, b"7", b"10")
    client.heard()
    worker.leave()
    assert client.say("GET_STATUS", handle)[0][1] == (handle, b"1", b"0", b"0", b"0")


def test_reports_on_a_job_whose_clients_have_left_are_taken_and_go_nowhere(talk: Connect) -> None:
    client, worker = talk(), talk()
    worker.send("CAN_DO", b"f")
    handle = submit(client)
    grab(worker)
    client.leave()
    assert worker.say("WORK_DATA", handle, b"part") == []
    assert worker.say("WORK_COMPLETE", handle, b"done") == []
    assert worker.text(b"status\n") == b"f\t0\t0\t1\n.\n"


def test_a_status_does_not_prolong_the_time_of_a_job(core: Any, talk: Connect) -> None:
    client, worker = talk(), talk()
    worker.send("CAN_DO_TIMEOUT", b"f", b"1000")
    handle = submit(client)
    grab(worker)
    for _ in range(3):
        core.advance(0.3)
        worker.send("WORK_STATUS", handle, b"1", b"2")
    core.advance(0.2)
    assert worker.say("WORK_COMPLETE", handle, b"late")[0][1][0] == b"JOB_NOT_FOUND"


@pytest.mark.parametrize("time", [b"0", b"-1"])
def test_a_timeout_of_nothing_is_none(core: Any, talk: Connect, time: bytes) -> None:
    client, worker = talk(), talk()
    worker.send("CAN_DO_TIMEOUT", b"f", time)
    handle = submit(client)
    grab(worker)
    core.advance(1_000_000)
    worker.send("WORK_COMPLETE", handle, b"late")
    assert client.heard() == [("WORK_COMPLETE", (handle, b"late"))]


# -- anybody


def test_a_client_id_may_change_and_an_empty_one_is_none(talk: Connect) -> None:
    one = talk()
    for id, shown in [(b"me", b"me"), (b"you", b"you"), (b"", b"-")]:
        one.send("SET_CLIENT_ID", id)
        assert one.text(b"workers\n") == b"0 - " + shown + b" :\n.\n"


def test_a_function_with_jobs_or_workers_is_not_dropped(talk: Connect) -> None:
    client, admin = talk(), talk()
    handle = submit(client)
    assert admin.text(b"drop function f\n").startswith(b"ERR there are still")
    admin.text(b"cancel job " + handle + b"\n")
    assert admin.text(b"drop function f\n") == b"OK\r\n"


def test_a_function_stays_listed_when_its_last_worker_has_left(talk: Connect) -> None:
    worker, admin = talk(), talk()
    worker.send("CAN_DO", b"f")
    worker.leave()
    assert admin.text(b"status\n") == b"f\t0\t0\t0\n.\n"


def test_answers_to_one_connection_come_in_the_order_of_its_requests(core: Any, talk: Connect) -> None:
    one = talk()
    words = [("ECHO_REQ", b"1"), ("SUBMIT_JOB_BG", b"f", b"", b"x"), ("GET_STATUS", b"H:"), ("GRAB_JOB",), ("NOOP",)]
    core.receive(one.id, b"".join(request(*each) for each in words))
    assert [name for name, _ in one.heard()] == ["ECHO_RES", "JOB_CREATED", "STATUS_RES", "NO_JOB", "ERROR"]
