# SPDX-License-Identifier: MIT
"""Back-pressure: who has to wait for whom, and who is cut off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from core.conftest import Talk, memory_ends
from speak import packets, request

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def small(make_core: Callable[..., Any]) -> Any:
    """A core whose peers may have 1 MiB waiting, and 256 KiB of answers to their own requests."""
    return make_core(max_output=MIB)


def hand_out(client: Talk, worker: Talk, count: int, unique: bytes = b"", data: bytes = b"x") -> list[bytes]:
    """So many jobs of the client in the worker's hands."""
    handles = []
    worker.send("CAN_DO", b"f")
    for _ in range(count):
        client.send("SUBMIT_JOB", b"f", unique, data)
        ((_, (handle,)),) = client.heard()
        handles.append(handle)
        assert worker.say("GRAB_JOB")[-1][0] == "JOB_ASSIGN"
    return handles


def test_prefetched_jobs_wait_until_there_is_room_for_them(small: Any) -> None:
    client, worker = Talk(small), Talk(small)
    for _ in range(16):
        client.say("SUBMIT_JOB", b"f", b"", b"x" * 200 * KIB)
    worker.core.receive(worker.id, request("CAN_DO", b"f") + request("GRAB_JOB") * 17)
    assert small.output(worker.id) < 256 * KIB + 200 * KIB + 100
    assert small.is_held(worker.id)
    names = [name for name, _ in worker.heard()]
    assert names == ["JOB_ASSIGN"] * 16 + ["NO_JOB"]
    assert not small.is_held(worker.id) and not small.is_doomed(worker.id)


def test_results_for_a_client_that_reads_slowly_make_the_worker_wait_and_all_arrive(small: Any) -> None:
    client, worker, other = Talk(small), Talk(small), Talk(small)
    handles = hand_out(client, worker, 20)
    for handle in handles:
        worker.send("WORK_COMPLETE", handle, b"y" * 300 * KIB)
    assert small.is_held(worker.id)
    assert MIB < small.output(client.id) < MIB + 400 * KIB
    assert other.say("ECHO_REQ", b"meanwhile") == [("ECHO_RES", (b"meanwhile",))]
    data = b""
    for _ in range(1000):
        small.advance(1.0)
        data += small.take(client.id, 100 * KIB)
        small.turn()
        assert small.output(client.id) < MIB + 400 * KIB
    assert [args[0] for _, args in packets(data)] == handles
    assert not small.is_doomed(client.id) and not small.is_held(worker.id)


def test_a_large_result_waits_before_its_bytes_are_taken(small: Any) -> None:
    client, worker = Talk(small), Talk(small)
    first, second = hand_out(client, worker, 2)
    worker.send("WORK_COMPLETE", first, b"y" * 2 * MIB)
    memory = small.memory
    worker.send("WORK_COMPLETE", second, b"z" * 3 * MIB)
    assert small.is_held(worker.id) and small.memory == memory
    assert [args[1][:1] for _, args in client.heard()] == [b"y", b"z"]


def test_a_client_that_stops_reading_is_cut_off_and_its_worker_goes_on(small: Any) -> None:
    client, worker, other = Talk(small), Talk(small), Talk(small)
    handles = hand_out(client, worker, 5)
    kept = hand_out(other, worker, 1)[0]
    for handle in handles:
        worker.send("WORK_COMPLETE", handle, b"y" * 300 * KIB)
    worker.send("WORK_COMPLETE", kept, b"for the other")
    assert other.heard() == []
    small.advance(9.9)
    assert not small.is_doomed(client.id)
    assert small.next_due() == pytest.approx(0.1, abs=0.01)
    small.advance(0.2)
    assert small.is_doomed(client.id)
    client.leave()
    small.turn()
    assert other.heard() == [("WORK_COMPLETE", (kept, b"for the other"))]
    assert small.waiting_output == small.output(worker.id)
    assert small.counters["cut_off"] == 1


def test_reading_a_trickle_is_not_reading(small: Any) -> None:
    client, worker = Talk(small), Talk(small)
    for handle in hand_out(client, worker, 8):
        worker.send("WORK_COMPLETE", handle, b"y" * 300 * KIB)
    for _ in range(9):
        small.advance(1.0)
        assert len(small.take(client.id, 1)) == 1
        assert not small.is_doomed(client.id)
    small.advance(1.1)
    assert small.is_doomed(client.id)


def test_endless_updates_of_a_job_wait_like_results(small: Any) -> None:
    client, worker = Talk(small), Talk(small)
    (handle,) = hand_out(client, worker, 1)
    update = request("WORK_STATUS", handle, b"1", b"2")
    small.receive(worker.id, update * (4 * MIB // len(update)))
    while small.turn():
        pass
    assert small.is_held(worker.id)
    assert small.output(client.id) <= MIB + 100


def test_a_peer_that_is_its_own_client_can_go_on_by_reading(small: Any) -> None:
    me = Talk(small)
    me.send("CAN_DO", b"f")
    me.core.receive(me.id, request("SUBMIT_JOB", b"f", b"", b"x") * 8 + request("GRAB_JOB") * 8)
    handles = [args[0] for name, args in me.heard() if name == "JOB_ASSIGN"]
    for handle in handles:
        me.send("WORK_COMPLETE", handle, b"y" * 300 * KIB)
    assert [args[0] for _, args in me.heard()] == handles


def test_data_for_one_who_waits_a_thousand_times_is_kept_once(make_core: Callable[..., Any]) -> None:
    core = make_core(max_output=64 * MIB)
    client, worker = Talk(core), Talk(core)
    for _ in range(1000):
        client.say("SUBMIT_JOB", b"f", b"same", b"")
    worker.send("CAN_DO", b"f")
    ((_, (handle, *_)),) = worker.say("GRAB_JOB")
    worker.send("WORK_DATA", handle, b"d" * 16_000)
    assert core.output(client.id) > 16_000_000
    heard = client.heard()
    assert len(heard) == 1000 and set(heard) == {("WORK_DATA", (handle, b"d" * 16_000))}
    client.send("GET_STATUS_UNIQUE", b"same")
    assert client.heard()[0][1][-1] == b"1000"


# -- what cannot be taken


@pytest.mark.parametrize("report", ["WORK_COMPLETE", "WORK_DATA", "WORK_EXCEPTION", "WORK_WARNING"])
@pytest.mark.parametrize("cut", [None, 12, 13, 25, 40_000])
def test_a_report_that_is_too_large_ends_its_job(make_core: Callable[..., Any], report: str, cut: int | None) -> None:
    core = make_core(max_packet_size=100 * KIB)
    client, worker = Talk(core), Talk(core)
    (handle,) = hand_out(client, worker, 1)
    data = request(report, handle, b"y" * 200 * KIB)
    for piece in (data[:cut], data[cut:]) if cut else (data,):
        core.receive(worker.id, piece)
    assert client.heard() == [("WORK_FAIL", (handle,))]
    ((name, (code, _)),) = worker.heard()
    assert (name, code) == ("ERROR", b"ARGUMENT_TOO_LARGE")
    assert worker.say("ECHO_REQ", b"in step") == [("ECHO_RES", (b"in step",))]


def test_a_report_that_is_too_large_about_anothers_job_does_nothing_to_it(make_core: Callable[..., Any]) -> None:
    core = make_core(max_packet_size=100 * KIB)
    client, worker, stranger = Talk(core), Talk(core), Talk(core)
    (handle,) = hand_out(client, worker, 1)
    assert stranger.say("WORK_COMPLETE", handle, b"y" * 200 * KIB)[0][0] == "ERROR"
    worker.send("WORK_COMPLETE", handle, b"well")
    assert client.heard() == [("WORK_COMPLETE", (handle, b"well"))]


def test_the_memory_limit_refuses_submissions_and_no_results(make_core: Callable[..., Any]) -> None:
    core = make_core(max_memory=MIB)
    client, worker, filler = Talk(core), Talk(core), Talk(core)
    (handle,) = hand_out(client, worker, 1)
    filler.say("SUBMIT_JOB_BG", b"g", b"", b"x" * 900 * KIB)
    assert filler.say("SUBMIT_JOB_BG", b"g", b"", b"x" * 300 * KIB)[0][1][0] == b"QUEUE_ERROR"
    worker.send("WORK_COMPLETE", handle, b"y" * 800 * KIB)
    assert client.heard() == [("WORK_COMPLETE", (handle, b"y" * 800 * KIB))]


def test_bytes_under_way_and_output_count_as_memory(make_core: Callable[..., Any]) -> None:
    core = make_core(max_memory=8 * MIB)
    talks = [Talk(core) for _ in range(10)]
    for talk in talks:
        core.receive(talk.id, request("SUBMIT_JOB_BG", b"f", b"", b"x" * 2 * MIB)[: 1536 * KIB])
    assert core.memory <= 8 * MIB
    refused = [talk for talk in talks if b"QUEUE_ERROR" in core.sent(talk.id)]
    assert 5 <= len(refused) <= 8
    for talk in talks:
        talk.leave()
    assert core.memory == 0 and core.waiting_output == 0


def test_waiting_a_million_times_is_limited_by_memory_too(make_core: Callable[..., Any]) -> None:
    core = make_core(max_memory=MIB)
    client = Talk(core)
    said = {client.say("SUBMIT_JOB", b"f", b"same", b"")[0][0] for _ in range(30_000)}
    assert said == {"JOB_CREATED", "ERROR"}
    client.leave()
    assert core.memory == 0


def test_costly_requests_of_one_come_in_turns_with_those_of_others(make_core: Callable[..., Any]) -> None:
    core = make_core()
    costly, other = Talk(core), Talk(core)
    for i in range(500):
        costly.send("CAN_DO", b"function%d" % i)
    core.receive(costly.id, b"status\n" * 300)
    assert core.output(costly.id) < 2 * MIB, "one turn is over after a while"
    assert other.say("ECHO_REQ", b"x") == [("ECHO_RES", (b"x",))]
    while core.turn():
        core.take(costly.id, 100 * MIB)
    core.receive(costly.id, request("GET_STATUS_UNIQUE", b"u") * 300)
    assert core.is_held(costly.id)
    assert core.sent(costly.id).count(b"\0RES\0\0\0\x2a") == 300


# -- found by attack


def test_a_client_may_write_all_its_requests_before_it_reads_the_first_result(small: Any) -> None:
    """Results are not answers to its own requests: they must not stop it, or both would wait for ever."""
    client, worker = Talk(small), Talk(small)
    handles = hand_out(client, worker, 2)
    for handle in handles:
        worker.send("WORK_COMPLETE", handle, b"y" * 400 * KIB)
    assert small.output(client.id) > 256 * KIB
    for _ in range(100):
        client.send("SUBMIT_JOB", b"f", b"", b"z" * 100 * KIB)
    assert not small.is_held(client.id)
    assert len(client.heard()) == 102


def test_a_worker_may_send_a_large_result_before_it_reads_the_jobs_it_has_asked_for(small: Any) -> None:
    client, worker = Talk(small), Talk(small)
    (handle,) = hand_out(client, worker, 1)
    for _ in range(4):
        client.say("SUBMIT_JOB", b"f", b"", b"x" * 300 * KIB)
    for _ in range(4):
        worker.send("GRAB_JOB")
    assert small.is_held(worker.id) or small.output(worker.id) > 256 * KIB
    worker.send("WORK_COMPLETE", handle, b"y" * 2 * MIB)
    worker.heard()
    assert client.heard()[-1][0] == "WORK_COMPLETE"


def test_reading_a_little_below_the_limit_does_not_start_the_time_again(small: Any) -> None:
    client, worker = Talk(small), Talk(small)
    (handle,) = hand_out(client, worker, 1)
    update = request("WORK_STATUS", handle, b"1", b"2")
    small.receive(worker.id, update * (4 * MIB // len(update)))
    while small.turn():
        pass
    assert small.output(client.id) > MIB
    for _ in range(10):
        small.advance(1.01)
        small.take(client.id, 60)
        small.turn()
    assert small.is_doomed(client.id)


@pytest.mark.parametrize("timeout_fails", [True, False])
def test_no_ability_timeout_ends_a_job_whose_report_the_server_itself_holds_back(
    make_core: Callable[..., Any], timeout_fails: bool
) -> None:
    core = make_core(max_output=MIB, timeout_fails=timeout_fails)
    client, other, worker = Talk(core), Talk(core), Talk(core)
    handles = hand_out(client, worker, 6)
    worker.send("CAN_DO_TIMEOUT", b"f", b"5000")
    ((_, (handle,)),) = other.say("SUBMIT_JOB", b"f", b"", b"x")
    assert worker.say("GRAB_JOB")[0][0] == "JOB_ASSIGN"
    for each in handles:
        worker.send("WORK_COMPLETE", each, b"y" * 300 * KIB)
    worker.send("WORK_COMPLETE", handle, b"in time")
    for _ in range(70):
        core.advance(0.1)
        core.take(client.id, 10 * KIB)
        core.turn()
    assert core.is_held(worker.id) and other.heard() == [], "the time was over while it was held"
    for _ in range(70):
        core.advance(0.1)
        core.take(client.id, 40 * KIB)
        core.turn()
    assert other.heard() == [("WORK_COMPLETE", (handle, b"in time"))]


def test_a_large_report_about_no_job_of_the_worker_takes_no_memory(make_core: Callable[..., Any]) -> None:
    core = make_core(max_memory=MIB)
    stranger = Talk(core)
    core.receive(stranger.id, request("WORK_COMPLETE", b"H:no:1", b"x" * 8 * MIB)[:-1])
    assert core.memory == 0
    ((_, (code, _)),) = stranger.heard()
    assert code == b"JOB_NOT_FOUND"
    core.receive(stranger.id, b"x" + request("ECHO_REQ", b"in step"))
    assert stranger.heard() == [("ECHO_RES", (b"in step",))]


def test_a_packet_whose_room_went_to_others_meanwhile_is_refused(make_core: Callable[..., Any]) -> None:
    core = make_core(max_memory=8 * MIB)
    slow, fast = Talk(core), Talk(core)
    packet = request("SUBMIT_JOB_BG", b"f", b"", b"x" * 6 * MIB)
    core.receive(slow.id, packet[: 17 * KIB])
    assert fast.say("SUBMIT_JOB_BG", b"g", b"", b"x" * 5 * MIB)[0][0] == "JOB_CREATED"
    core.receive(slow.id, packet[17 * KIB : 5 * MIB])
    assert [(name, args[0]) for name, args in slow.heard()] == [("ERROR", b"QUEUE_ERROR")]
    assert core.memory < 6 * MIB
    core.receive(slow.id, packet[5 * MIB :] + request("ECHO_REQ", b"in step"))
    assert slow.heard() == [("ECHO_RES", (b"in step",))]


@pytest.mark.parametrize("what", ["submission", "report"])
def test_a_packet_for_which_memory_ends_half_way_is_refused(make_core: Callable[..., Any], what: str) -> None:
    core = make_core()
    client, worker = Talk(core), Talk(core)
    (handle,) = hand_out(client, worker, 1)
    one = client if what == "submission" else worker
    words = ("SUBMIT_JOB", b"f", b"") if what == "submission" else ("WORK_COMPLETE", handle)
    packet = request(*words, b"x" * MIB)
    core.receive(one.id, packet[: 20 * KIB])
    with memory_ends():
        core.receive(one.id, packet[20 * KIB :])
    core.receive(one.id, request("ECHO_REQ", b"in step"))
    (error, (code, _)), echo = one.heard()
    assert (error, code) == ("ERROR", b"MEMORY_ALLOCATION_FAILURE") and echo == ("ECHO_RES", (b"in step",))
    if what == "report":
        assert client.heard() == [("WORK_FAIL", (handle,))]


def test_half_a_packet_costs_about_what_came_of_it(make_core: Callable[..., Any]) -> None:
    core = make_core(max_memory=8 * MIB)
    for _ in range(60):
        talk = Talk(core)
        core.receive(talk.id, request("SUBMIT_JOB_BG", b"f", b"", b"x" * 2 * MIB)[: 17 * KIB])
    assert core.memory <= 60 * 64 * KIB


def test_an_exception_for_one_who_waits_a_thousand_times_is_kept_once(make_core: Callable[..., Any]) -> None:
    core = make_core()
    client, worker = Talk(core), Talk(core)
    client.say("OPTION_REQ", b"exceptions")
    for _ in range(1000):
        client.say("SUBMIT_JOB", b"f", b"same", b"")
    worker.send("CAN_DO", b"f")
    ((_, (handle, *_)),) = worker.say("GRAB_JOB")
    worker.send("WORK_EXCEPTION", handle, b"d" * 16_000)
    assert set(client.heard()) == {("WORK_EXCEPTION", (handle, b"d" * 16_000))}


@pytest.mark.parametrize("ends_by", ["cancel", "retire", "leave"])
def test_a_held_worker_goes_on_when_what_it_waits_for_is_over(small: Any, ends_by: str) -> None:
    client, worker = Talk(small), Talk(small)
    handles = hand_out(client, worker, 5)
    for handle in handles:
        worker.send("WORK_COMPLETE", handle, b"y" * 300 * KIB)
    assert small.is_held(worker.id)
    if ends_by == "cancel":
        for handle in handles:
            Talk(small).text(b"cancel job " + handle + b"\n")
    elif ends_by == "retire":
        small.retire(client.id)
    else:
        client.leave()
    while small.turn():
        pass
    assert not small.is_held(worker.id)


def test_a_status_that_is_too_large_ends_its_job_whole_and_in_pieces(make_core: Callable[..., Any]) -> None:
    for cut in (None, 14, 40_000):
        core = make_core(max_packet_size=100 * KIB)
        client, worker = Talk(core), Talk(core)
        (handle,) = hand_out(client, worker, 1)
        data = request("WORK_STATUS", handle, b"1" * 200 * KIB, b"2")
        for piece in (data[:cut], data[cut:]) if cut else (data,):
            core.receive(worker.id, piece)
        assert client.heard() == [("WORK_FAIL", (handle,))]


def test_what_a_deaf_peer_has_said_still_counts_and_it_gets_nothing_more(core: Any, talk: Any) -> None:
    client, worker = talk(), talk()
    (handle,) = hand_out(client, worker, 1)
    client.say("SUBMIT_JOB", b"f", b"", b"next")
    core.deafen(worker.id)
    worker.send("WORK_COMPLETE", handle, b"said before")
    worker.send("GRAB_JOB")
    assert core.output(worker.id) == 0
    assert client.heard() == [("WORK_COMPLETE", (handle, b"said before"))]
    worker.leave()
    assert core.counters["assigned"] == 1


def test_a_deaf_peer_s_questions_cost_nothing_and_its_commands_are_obeyed(core: Any, talk: Any) -> None:
    client, gone = talk(), talk()
    for i in range(1000):
        client.say("SUBMIT_JOB_BG", b"f", b"", b"%d" % i)
    core.deafen(gone.id)
    before = core.effort
    core.receive(gone.id, b"show jobs\nstatus\nworkers\n" * 20 + b"create function g\nmaxqueue g 1\n")
    assert core.output(gone.id) < 100
    assert core.effort - before < 100
    assert client.text(b"status\n") == b"f\t1000\t0\t0\ng\t0\t0\t0\n.\n"


def test_a_hundred_peers_with_costly_requests_share_a_turn(make_core: Callable[..., Any]) -> None:
    core = make_core()
    many = Talk(core)
    for i in range(1000):
        many.send("CAN_DO", b"function%d" % i)
    before = core.effort
    peers = [Talk(core) for _ in range(100)]
    for peer in peers:
        core.receive_in_this_turn(peer.id, request("GET_STATUS_UNIQUE", b"u") * 200)
    assert core.effort - before < 40_000
    turns = 0
    while core.turn():
        turns += 1
    assert turns > 100
    assert all(core.sent(peer.id).count(b"\0RES\0\0\0\x2a") == 200 for peer in peers)
