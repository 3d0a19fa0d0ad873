# SPDX-License-Identifier: MIT
"""Where document, wire and other servers disagree: what this server does, one sentence each."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from core.conftest import Talk, memory_ends
from speak import NUMBERS, packets, request, response

Connect = Callable[[], Talk]


def submit(
    client: Talk, function: bytes = b"f", unique: bytes = b"", data: bytes = b"x", kind: str = "SUBMIT_JOB"
) -> bytes:
    ((name, (handle,)),) = client.say(kind, function, unique, data)
    assert name == "JOB_CREATED"
    return handle


def test_t1_a_reduce_job_has_four_arguments_and_keeps_its_reducer(talk: Connect) -> None:
    client, worker = talk(), talk()
    client.say("SUBMIT_REDUCE_JOB", b"map", b"u", b"reduce", b"aggregate", b"data")
    worker.send("CAN_DO", b"map")
    assert worker.say("GRAB_JOB_ALL") == [("JOB_ASSIGN_ALL", (b"H:test:1", b"map", b"u", b"reduce", b"data"))]
    client.say("SUBMIT_REDUCE_JOB_BACKGROUND", b"map", b"", b"reduce", b"aggregate", b"da\0ta")
    assert worker.say("GRAB_JOB_UNIQ") == [("JOB_ASSIGN_UNIQ", (b"H:test:2", b"map", b"", b"da\0ta"))]


def test_t1_with_three_arguments_it_is_refused_at_once(talk: Connect) -> None:
    client = talk()
    client.core.receive(client.id, request("SUBMIT_REDUCE_JOB", b"map", b"u", b"reduce"))
    ((name, (code, _)),) = client.heard()
    assert (name, code) == ("ERROR", b"INVALID_ARGUMENT")


@pytest.mark.parametrize("timeout_ms", [1, 100, 999, 5000])
def test_t2_an_ability_timeout_is_milliseconds_without_a_floor(core: Any, talk: Connect, timeout_ms: int) -> None:
    client, first, second = talk(), talk(), talk()
    first.send("CAN_DO_TIMEOUT", b"f", b"%d" % timeout_ms)
    handle = submit(client)
    assert first.say("GRAB_JOB")[0][0] == "JOB_ASSIGN"
    second.say("CAN_DO", b"f")
    core.advance(timeout_ms / 1000 - 0.0005)
    assert second.say("GRAB_JOB") == [("NO_JOB", ())]
    core.advance(0.001)
    assert second.say("GRAB_JOB")[0][1][0] == handle
    assert first.say("WORK_COMPLETE", handle, b"late")[0][1][0] == b"JOB_NOT_FOUND"
    assert client.heard() == []
    second.send("WORK_COMPLETE", handle, b"in time")
    assert client.heard() == [("WORK_COMPLETE", (handle, b"in time"))]


def test_t2_or_the_job_fails_where_that_is_configured(make_core: Callable[..., Any]) -> None:
    core = make_core(timeout_fails=True)
    client, worker = Talk(core), Talk(core)
    worker.send("CAN_DO_TIMEOUT", b"f", b"100")
    handle = submit(client)
    worker.say("GRAB_JOB")
    core.advance(0.2)
    assert client.heard() == [("WORK_FAIL", (handle,))]


def test_t2_the_timer_ends_with_the_job_and_each_job_has_its_own(core: Any, talk: Connect) -> None:
    client, worker = talk(), talk()
    worker.send("CAN_DO_TIMEOUT", b"f", b"100")
    handles = [submit(client), submit(client)]
    worker.say("GRAB_JOB")
    core.advance(0.05)
    worker.say("GRAB_JOB")
    worker.send("WORK_COMPLETE", handles[0], b"")
    worker.send("PRE_SLEEP")
    core.advance(0.06)
    worker.heard()
    assert client.say("GET_STATUS", handles[1])[-1][1][2] == b"1", "still running: its own 100 ms are not over"
    core.advance(0.05)
    assert client.say("GET_STATUS", handles[1])[-1][1][2] == b"0"
    assert core.counters["timed_out"] == 1


@pytest.mark.parametrize("name", [name for name, number in NUMBERS.items() if number not in (5, 24)])
def test_t3_a_packet_with_too_little_in_it_is_answered_and_the_next_one_is_read(talk: Connect, name: str) -> None:
    one = talk()
    one.core.receive(one.id, request(name) + request("ECHO_REQ", b"next"))
    heard = one.heard()
    assert heard[-1] == ("ECHO_RES", (b"next",))
    silent = {"RESET_ABILITIES", "PRE_SLEEP", "SET_CLIENT_ID"}
    assert len(heard) == (1 if name in silent else 2)


def test_t3_what_comes_behind_a_packet_is_never_taken_for_its_arguments(talk: Connect) -> None:
    one = talk()
    one.core.receive(one.id, request("SUBMIT_JOB", b"fn") + request("SUBMIT_JOB", b"f", b"u", b"data"))
    (error, created) = one.heard()
    assert (error[0], created[0]) == ("ERROR", "JOB_CREATED")


def test_t4_a_status_is_answered_for_any_handle(talk: Connect) -> None:
    one = talk()
    for handle in (b"", b"H:test:", b"H:test:01", b"H:test:1x", b"H:other:1", b"x" * 64, b"x" * 5000):
        assert one.say("GET_STATUS", handle) == [("STATUS_RES", (handle, b"0", b"0", b"0", b"0"))]
        assert one.say("GET_STATUS_UNIQUE", handle) == [("STATUS_RES_UNIQUE", (handle, b"0", b"0", b"0", b"0", b"0"))]


def test_t5_a_unique_of_64_bytes_is_kept_whole_and_65_are_refused(talk: Connect) -> None:
    client, worker = talk(), talk()
    unique = b"u" * 64
    assert submit(client, unique=unique) == submit(client, unique=unique)
    assert submit(client, unique=b"u" * 63 + b"v") != submit(client, unique=unique)
    worker.send("CAN_DO", b"f")
    assert worker.say("GRAB_JOB_UNIQ")[0][1][2:] == (unique, b"x")
    assert client.say("SUBMIT_JOB", b"f", b"u" * 65, b"x") == [
        ("ERROR", (b"ARGUMENT_TOO_LARGE", b"Unique value too large"))
    ]


def test_t6_jobs_without_a_unique_are_jobs_of_their_own(talk: Connect) -> None:
    client = talk()
    assert len({submit(client, kind="SUBMIT_JOB_BG") for _ in range(20)}) == 20
    assert len({submit(client, unique=b"-", data=b"", kind="SUBMIT_JOB_BG") for _ in range(3)}) == 3
    assert len({submit(client, unique=b"-", data=b"same", kind="SUBMIT_JOB_BG") for _ in range(3)}) == 1
    assert submit(client, unique=b"-", data=b"same") != submit(client, unique=b"same", data=b"other")


def test_t8_a_handle_of_an_earlier_server_names_nothing(make_core: Callable[..., Any]) -> None:
    core = make_core(first_number=5_000_000)
    one = Talk(core)
    assert submit(one) == b"H:test:5000000"
    assert one.say("GET_STATUS", b"H:test:1")[0][1][1] == b"0"


def test_t9_an_exception_is_a_clean_fail_for_those_who_did_not_ask(talk: Connect) -> None:
    plain, asking, worker = talk(), talk(), talk()
    asking.say("OPTION_REQ", b"exceptions")
    worker.send("CAN_DO", b"f")
    handle = submit(plain, unique=b"u")
    assert submit(asking, unique=b"u") == handle
    worker.say("GRAB_JOB")
    worker.send("WORK_EXCEPTION", handle, b"oh")
    assert plain.heard() == [("WORK_FAIL", (handle,))]
    assert asking.heard() == [("WORK_EXCEPTION", (handle, b"oh"))]
    assert worker.say("WORK_COMPLETE", handle, b"late")[0][1][0] == b"JOB_NOT_FOUND"


def test_t9_a_worker_may_end_its_handle_with_a_nul(talk: Connect) -> None:
    client, worker = talk(), talk()
    worker.send("CAN_DO", b"f")
    handle = submit(client)
    worker.say("GRAB_JOB")
    worker.send("WORK_FAIL", handle + b"\0")
    assert client.heard() == [("WORK_FAIL", (handle,))]


def test_t10_an_abandoned_foreground_job_is_gone_at_once(talk: Connect) -> None:
    client, other = talk(), talk()
    submit(client)
    client.leave()
    assert other.text(b"status\n") == b"f\t0\t0\t0\n.\n"


def test_t10_a_background_job_survives_the_clients_that_joined_it(talk: Connect) -> None:
    background, foreground, other = talk(), talk(), talk()
    for first, second in [("SUBMIT_JOB_BG", "SUBMIT_JOB"), ("SUBMIT_JOB", "SUBMIT_JOB_BG")]:
        peers = {"SUBMIT_JOB": foreground, "SUBMIT_JOB_BG": background}
        handle = submit(peers[first], unique=b"u", kind=first)
        assert submit(peers[second], unique=b"u", kind=second) == handle
        foreground.leave()
        assert other.say("GET_STATUS", handle)[0][1][1] == b"1"
        other.text(b"cancel job " + handle + b"\n")
        foreground = talk()


def test_t11_a_cancelled_job_ends_once(talk: Connect) -> None:
    client, worker, admin = talk(), talk(), talk()
    worker.send("CAN_DO", b"f")
    handle = submit(client)
    worker.say("GRAB_JOB")
    assert admin.text(b"cancel job " + handle + b"\r\n") == b"OK\r\n"
    assert client.heard() == [("WORK_FAIL", (handle,))]
    assert worker.say("WORK_COMPLETE", handle, b"x")[0][1][0] == b"JOB_NOT_FOUND"
    assert client.heard() == []
    assert admin.text(b"cancel job " + handle + b"\r\n") == b"ERR UNKNOWN_JOB\r\n"


@pytest.mark.parametrize("time", [b"abc", b"", b"-1", b"1.5", b"99999999999999999999", b"1 "])
def test_t12_a_time_that_is_none_is_refused(talk: Connect, time: bytes) -> None:
    one = talk()
    assert one.say("SUBMIT_JOB_EPOCH", b"f", b"", time, b"x") == [
        ("ERROR", (b"INVALID_ARGUMENT", b"The time of an epoch job is a number of seconds since 1970"))
    ]
    assert one.text(b"status\n") == b".\n"


def utc(*when: int) -> int:
    return int(datetime.datetime(*when, tzinfo=datetime.timezone.utc).timestamp())


@pytest.mark.parametrize(
    ("schedule", "due"),
    [  # the clock of these tests begins at 2023-11-14 22:13:20 UTC, a Tuesday
        ("* * * * *", (2023, 11, 14, 22, 14)),
        ("14 22 14 11 1", (2023, 11, 14, 22, 14)),
        ("13 22 14 11 *", (2024, 11, 14, 22, 13)),
        ("0 * * * *", (2023, 11, 14, 23, 0)),
        ("30 22 * * 0", (2023, 11, 20, 22, 30)),
        ("0 0 1 1 *", (2024, 1, 1, 0, 0)),
        ("5 4 29 2 *", (2024, 2, 29, 4, 5)),
        ("0 0 29 2 0", (2044, 2, 29, 0, 0)),
        ("59 23 31 12 6", (2023, 12, 31, 23, 59)),
    ],
)
def test_a_scheduled_job_runs_once_at_the_next_time_that_fits(
    core: Any, talk: Connect, schedule: str, due: Any
) -> None:
    worker, client = talk(), talk()
    worker.send("CAN_DO", b"f")
    fields = [b"" if field == "*" else field.encode() for field in schedule.split()]
    ((name, (handle,)),) = client.say("SUBMIT_JOB_SCHED", b"f", b"", *fields, b"x")
    assert name == "JOB_CREATED"
    core.advance(utc(*due) - core.time - 1)
    assert worker.say("GRAB_JOB") == [("NO_JOB", ())]
    core.advance(2)
    assert worker.say("GRAB_JOB") == [("JOB_ASSIGN", (handle, b"f", b"x"))]
    core.advance(50 * 366 * 86400)
    assert worker.say("GRAB_JOB")[0][0] == "NO_JOB"


@pytest.mark.parametrize("schedule", ["60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "-1 * * * *", "x * * * *",
                                      "* * 30 2 *", "* * 31 4 *"])  # fmt: skip
def test_a_schedule_that_never_comes_is_refused(talk: Connect, schedule: str) -> None:
    one = talk()
    assert one.say("SUBMIT_JOB_SCHED", b"f", b"", *(field.encode() for field in schedule.split()), b"x") == [
        (
            "ERROR",
            (b"INVALID_ARGUMENT", b"A schedule is minute, hour, day, month and weekday (0 is Monday), empty for any"),
        )
    ]
    assert one.text(b"status\n") == b".\n"


def test_t13_a_result_for_a_job_that_is_not_held_harms_nobody(talk: Connect) -> None:
    client, holder, stranger = talk(), talk(), talk()
    holder.send("CAN_DO", b"f")
    handle = submit(client)
    holder.say("GRAB_JOB")
    for kind in ("WORK_COMPLETE", "WORK_DATA", "WORK_WARNING", "WORK_EXCEPTION"):
        assert stranger.say(kind, handle, b"x")[0][1][0] == b"JOB_NOT_FOUND"
    assert stranger.say("WORK_FAIL", handle)[0][1][0] == b"JOB_NOT_FOUND"
    assert stranger.say("WORK_STATUS", handle, b"1", b"2")[0][1][0] == b"JOB_NOT_FOUND"
    assert client.heard() == []
    holder.send("WORK_COMPLETE", handle, b"x")
    assert client.heard() == [("WORK_COMPLETE", (handle, b"x"))]


@pytest.mark.parametrize("number", [0, 43, 1000])
def test_t14_an_unknown_type_is_answered_and_the_next_packet_is_read(talk: Connect, number: int) -> None:
    one = talk()
    one.core.receive(one.id, request(number, b"whatever") + request("ECHO_REQ", b"next"))
    error, echo = one.heard()
    assert error == ("ERROR", (b"INVALID_COMMAND", b"There is no packet of this type"))
    assert echo == ("ECHO_RES", (b"next",))


@pytest.mark.parametrize(
    "name",
    ["UNUSED", "NOOP", "JOB_CREATED", "NO_JOB", "JOB_ASSIGN", "ECHO_RES", "ERROR", "STATUS_RES", "OPTION_RES",
     "JOB_ASSIGN_UNIQ", "JOB_ASSIGN_ALL", "STATUS_RES_UNIQUE"],
)  # fmt: skip
def test_t14_a_packet_that_is_not_for_a_server_is_refused(talk: Connect, name: str) -> None:
    assert talk().say(name, *[b"1"] * 8)[0][1][0] == b"INVALID_COMMAND"


def test_t14_the_response_magic_is_refused_and_the_connection_stays(talk: Connect) -> None:
    one = talk()
    one.core.receive(one.id, response("ECHO_REQ", b"x") + request("ECHO_REQ", b"next"))
    assert one.heard() == [("ERROR", (b"INVALID_MAGIC", b"Request magic expected")), ("ECHO_RES", (b"next",))]


@pytest.mark.parametrize(
    "garbage", [b"\0BAD" + b"x" * 20, b"\0", b"\0RE\0" + b"\0" * 20, b"\0REQ\xff\xff\xff\xff\xff\xff\xff\xff"]
)
def test_t14_what_cannot_be_followed_is_answered_and_closed(talk: Connect, garbage: bytes) -> None:
    one = talk()
    one.core.receive(one.id, garbage + b"\0" * 20)
    ((name, (code, _)),) = one.heard()
    assert (name, code) == ("ERROR", b"INVALID_MAGIC")
    assert one.core.is_closing(one.id)


@pytest.mark.parametrize("kind", ["CAN_DO", "SUBMIT_JOB"])
def test_t15_names_are_checked_and_listings_stay_parseable(talk: Connect, kind: str) -> None:
    one = talk()
    rest = (b"", b"x") if kind == "SUBMIT_JOB" else ()
    assert one.say(kind, b"", *rest)[0][1][0] == b"INVALID_FUNCTION_NAME"
    assert one.say(kind, b"n" * 513, *rest)[0][1][0] == b"ARGUMENT_TOO_LARGE"
    one.say(kind, b"with\nnew\tlines and blanks\x7f", *rest)
    one.say(kind, b"n" * 512, *rest)
    first, second, dot, end = one.text(b"status\n").split(b"\n")
    assert first.startswith(b"with\\x0anew\\x09lines and blanks\\x7f\t")
    assert second.startswith(b"n" * 512 + b"\t")
    assert (dot, end) == (b".", b"")


def test_t15_a_function_with_a_nul_cannot_be_announced(talk: Connect) -> None:
    assert talk().say("CAN_DO", b"a\0b")[0][1][0] == b"INVALID_ARGUMENT"


def test_one_nul_at_the_end_of_the_last_argument_is_taken_off(talk: Connect) -> None:
    one = talk()
    assert one.say("CAN_DO", b"f\0") == []
    assert one.text(b"status\n") == b"f\t0\t0\t1\n.\n"
    handle = submit(one)
    assert one.say("GRAB_JOB", b"\0")[0][0] == "JOB_ASSIGN"
    assert one.say("WORK_STATUS", handle, b"1", b"2\0") == [("WORK_STATUS", (handle, b"1", b"2"))]
    assert one.say("GET_STATUS", handle + b"\0") == [("STATUS_RES", (handle, b"1", b"1", b"1", b"2"))]


def test_can_do_twice_is_one_ability_and_cant_do_of_nothing_is_nothing(talk: Connect) -> None:
    one = talk()
    for _ in range(3):
        one.send("CAN_DO", b"f")
    one.send("CANT_DO", b"other")
    assert one.text(b"status\n") == b"f\t0\t0\t1\n.\n"
    one.send("CANT_DO", b"f")
    assert one.text(b"status\n") == b"f\t0\t0\t0\n.\n"


def test_all_yours_is_accepted(talk: Connect) -> None:
    one = talk()
    assert one.say("ALL_YOURS") == []
    assert one.say("ECHO_REQ", b"x") == [("ECHO_RES", (b"x",))]


def test_one_job_wakes_one_of_many_sleepers_and_a_silent_one_gets_company(core: Any, talk: Connect) -> None:
    workers = [talk() for _ in range(500)]
    for worker in workers:
        worker.send("CAN_DO", b"f")
        worker.send("PRE_SLEEP")
    client = talk()
    submit(client)
    assert [worker.heard() for worker in workers].count([("NOOP", ())]) == 1
    core.advance(0.051)
    assert [worker.heard() for worker in workers].count([("NOOP", ())]) == 1, "the first one did not grab in time"
    core.advance(10)
    for worker in workers:
        if worker.heard():
            worker.send("GRAB_JOB")
    core.check()


def test_the_last_worker_to_fall_asleep_is_woken_first(talk: Connect) -> None:
    workers = [talk() for _ in range(3)]
    for worker in workers:
        worker.send("CAN_DO", b"f")
    for worker in (workers[2], workers[0], workers[1]):
        worker.send("PRE_SLEEP")
    submit(talk())
    assert [worker.heard() for worker in workers] == [[], [("NOOP", ())], []]


def test_a_far_future_job_wakes_nobody(core: Any, talk: Connect) -> None:
    worker, client = talk(), talk()
    worker.send("CAN_DO", b"f")
    client.say("SUBMIT_JOB_EPOCH", b"f", b"", b"%d" % (core.time + 1000), b"x")
    assert worker.say("GRAB_JOB") == [("NO_JOB", ())]
    assert worker.say("PRE_SLEEP") == []
    assert 999 < core.next_due() <= 1000
    core.advance(1000.5)
    assert worker.heard() == [("NOOP", ())]
    assert worker.say("GRAB_JOB")[0][0] == "JOB_ASSIGN"


def test_functions_take_turns_and_the_newest_comes_first(talk: Connect) -> None:
    client, worker = talk(), talk()
    for name in (b"one", b"two"):
        worker.send("CAN_DO", name)
    for _ in range(3):
        submit(client, b"one")
        submit(client, b"two")
    order = [worker.say("GRAB_JOB")[0][1][1] for _ in range(6)]
    assert order == [b"two", b"one"] * 3


def test_job_retries_bound_how_often_a_job_is_given_out(make_core: Callable[..., Any]) -> None:
    for retries, times in [(0, 1), (1, 1), (3, 3)]:
        core = make_core(job_retries=retries)
        client = Talk(core)
        handle = submit(client)
        for time in range(times):
            assert client.heard() == []
            worker = Talk(core)
            worker.send("CAN_DO", b"f")
            assert worker.say("GRAB_JOB")[0][1][0] == handle, time
            worker.leave()
        assert client.heard() == [("WORK_FAIL", (handle,))]


def test_a_lost_job_goes_to_the_front_once_and_then_to_the_back(talk: Connect) -> None:
    client = talk()
    bad, good = submit(client), submit(client)

    def grab_and_die() -> bytes:
        worker = talk()
        worker.send("CAN_DO", b"f")
        handle: bytes = worker.say("GRAB_JOB")[0][1][0]
        worker.leave()
        return handle

    assert [grab_and_die() for _ in range(3)] == [bad, bad, good]


def test_prefetched_jobs_come_back_in_their_order(talk: Connect) -> None:
    client, first, second = talk(), talk(), talk()
    handles = [submit(client) for _ in range(4)]
    first.send("CAN_DO", b"f")
    for _ in range(3):
        first.say("GRAB_JOB")
    first.leave()
    second.send("CAN_DO", b"f")
    assert [second.say("GRAB_JOB")[0][1][0] for _ in range(4)] == handles


def test_large_data_arrive_byte_by_byte_as_well_as_at_once(core: Any, talk: Connect) -> None:
    client, worker = talk(), talk()
    worker.send("CAN_DO", b"f")
    data = bytes(range(256)) * 100
    for size in (1, 1000, 16_384, len(data)):
        whole = request("SUBMIT_JOB", b"f", b"", data)
        for start in range(0, len(whole), size):
            core.receive(client.id, whole[start : start + size])
        ((_, (handle,)),) = client.heard()
        assert worker.say("GRAB_JOB")[0][1][2] == data
        result = request("WORK_COMPLETE", handle, data[::-1])
        core.receive(worker.id, result[:20_000])
        core.receive(worker.id, result[20_000:])
        assert client.heard() == [("WORK_COMPLETE", (handle, data[::-1]))]
    assert core.memory == 0


def test_a_client_that_leaves_in_mid_packet_leaves_nothing(core: Any, talk: Connect) -> None:
    for length in (3, 12, 14, 20, 17_000):
        one = talk()
        core.receive(one.id, request("SUBMIT_JOB", b"f", b"", b"x" * 50_000)[:length])
        one.leave()
    assert talk().text(b"status\n") == b".\n"


def test_every_allocation_may_fail_without_harm(make_core: Callable[..., Any]) -> None:
    """For each n the n-th allocation fails: somebody is refused or given up, nothing breaks, nothing leaks."""
    for n in range(200):
        core = make_core()
        ids = [core.connect(), core.connect()]
        with memory_ends(n):
            for id in ids:
                core.receive(id, request("SET_CLIENT_ID", b"me") + request("CAN_DO", b"f") + request("PRE_SLEEP"))
            for data in (b"x", b"y" * 3000, b"z" * 40_000):
                core.receive(ids[0], request("SUBMIT_JOB", b"f", b"u" + data[:1], data)[:17_000])
                if not core.is_closing(ids[0]):
                    core.receive(ids[0], request("SUBMIT_JOB", b"f", b"u" + data[:1], data)[17_000:])
            core.receive(ids[0], b"status\nworkers\n" + request("SUBMIT_JOB_EPOCH", b"g", b"", b"9000000000", b""))
            core.receive(ids[1], request("GRAB_JOB_UNIQ") * 3)
            core.advance(1.0)
        core.check()
        probe = core.connect()
        core.receive(probe, request("ECHO_REQ", b"alive"))
        assert packets(core.sent(probe)) == [("ECHO_RES", (b"alive",))]
        for id in ids:
            core.disconnect(id)
        del core
