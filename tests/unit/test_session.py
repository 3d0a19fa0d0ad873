# SPDX-License-Identifier: MIT
"""Both sides of a conversation without sockets: what is expected, and what a server may not say."""

from __future__ import annotations

from collections import deque

import pytest
from speak import packet, response

from fastgear import LocalProtocolError, Priority, RemoteProtocolError, ServerError
from fastgear.client.requests import submission
from fastgear.protocol.session import Answer, ClientSession, End, SubmittedJob, WorkerSession, parse_status
from fastgear.protocol.wire import PacketType


def requests(data: bytes | bytearray) -> list[str]:
    names, data = [], bytes(data)
    while data:
        names.append(PacketType(int.from_bytes(data[4:8], "big")).name)
        data = data[12 + int.from_bytes(data[8:12], "big") :]
    return names


def submitted(session: ClientSession, *, background: bool = False) -> SubmittedJob:
    job = SubmittedJob("f", background=background)
    session.submit(job, submission(b"f", b"", b"x", background=background))
    return job


# -- client


@pytest.mark.parametrize("step", [1, 5, 10_000])
def test_answers_find_their_questions_however_the_bytes_come(step: int) -> None:
    session = ClientSession()
    first, answer, second = submitted(session), Answer(), submitted(session)
    session.ask(answer, PacketType.ECHO_REQ, PacketType.ECHO_RES, b"e")
    third = submitted(session, background=True)
    data = b"".join(
        [
            response("JOB_CREATED", b"H:1"),
            response("WORK_DATA", b"H:1", b"piece"),
            response("ERROR", b"QUEUE_ERROR", b"full"),
            response("ECHO_RES", b"e"),
            response("WORK_STATUS", b"H:1", b"1", b"2"),
            response("WORK_WARNING", b"H:1", b"careful"),
            response("JOB_CREATED", b"H:3"),
            response("WORK_COMPLETE", b"H:1", b"result"),
            response("WORK_COMPLETE", b"H:9", b"nobody's"),
        ]
    )
    ended = [job for at in range(0, len(data), step) for job in session.receive(data[at : at + step])]
    assert ended == [second, first]
    assert (first.data, first.warnings, first.numerator, first.denominator) == (deque([b"piece"]), [b"careful"], 1, 2)
    assert (first.end, first.payload, first.handle, first.is_over) == (End.COMPLETE, b"result", "H:1", True)
    assert isinstance(second.error, ServerError) and second.error.code == "QUEUE_ERROR"
    assert (third.handle, third.is_over) == ("H:3", False)
    assert answer.take() == (b"e",)
    assert session.is_idle


def test_a_job_submitted_twice_gets_every_packet_twice() -> None:
    session = ClientSession()
    jobs = [submitted(session), submitted(session)]
    session.receive(response("JOB_CREATED", b"H:1") * 2 + response("WORK_DATA", b"H:1", b"d") * 2)
    assert [list(job.data) for job in jobs] == [[b"d"], [b"d"]]
    assert session.receive(response("WORK_FAIL", b"H:1")) == [jobs[0]]
    assert session.receive(response("WORK_FAIL", b"H:1\0")) == [jobs[1]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (response("ECHO_RES", b"x"), "ECHO_RES .* without having been asked"),
        (response("JOB_CREATED", b"H:1"), "JOB_CREATED .* without having been asked"),
        (response("NOOP"), "NOOP, which is not for a client"),
        (packet(b"\0REQ", "ECHO_RES", b"x"), "not for a client"),
    ],
)
def test_a_server_that_breaks_the_rules_is_told_apart(data: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        ClientSession().receive(data)


def test_answers_come_in_order() -> None:
    session = ClientSession()
    submitted(session)
    with pytest.raises(RemoteProtocolError, match="ECHO_RES where JOB_CREATED was due"):
        session.receive(response("ECHO_RES", b""))


def test_an_error_that_answers_nothing_is_about_the_connection() -> None:
    with pytest.raises(ServerError, match="INVALID_MAGIC: oh"):
        ClientSession().receive(response("ERROR", b"INVALID_MAGIC", b"oh"))


def test_a_client_that_is_turned_away_has_got_no_answer() -> None:
    session, answer = ClientSession(), Answer()
    job = submitted(session)
    session.ask(answer, PacketType.OPTION_REQ, PacketType.OPTION_RES, b"exceptions")
    with pytest.raises(ServerError, match="TOO_MANY_CONNECTIONS: full"):
        session.receive(response("ERROR", b"TOO_MANY_CONNECTIONS", b"full"))
    assert session.unfinished() == ([], [job], [answer])
    assert job.error is None and answer.error is None


def test_what_is_left_when_a_connection_breaks() -> None:
    session, answer = ClientSession(), Answer()
    known, unknown = submitted(session), submitted(session)
    session.ask(answer, PacketType.ECHO_REQ, PacketType.ECHO_RES, b"")
    session.receive(response("JOB_CREATED", b"H:1"))
    assert session.unfinished() == ([known], [unknown], [answer])
    assert not session.is_idle


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, "SUBMIT_JOB"),
        ({"background": True, "priority": Priority.HIGH}, "SUBMIT_JOB_HIGH_BG"),
        ({"priority": Priority.LOW}, "SUBMIT_JOB_LOW"),
        ({"epoch": 5, "background": True}, "SUBMIT_JOB_EPOCH"),
        ({"reducer": b"r"}, "SUBMIT_REDUCE_JOB"),
        ({"reducer": b"r", "background": True}, "SUBMIT_REDUCE_JOB_BACKGROUND"),
    ],
)
def test_how_a_job_is_submitted_decides_the_packet(options: dict[str, object], kind: str) -> None:
    assert requests(submission(b"f", b"u", b"x", **options)) == [kind]  # type: ignore[arg-type]


def test_a_job_needs_a_function() -> None:
    with pytest.raises(LocalProtocolError, match="needs a name"):
        submission(b"", b"", b"")


def test_a_status_is_read_even_when_a_worker_sent_nonsense() -> None:
    status = parse_status((b"H:1", b"1", b"1", b"12abc", b"-", b"3"))
    assert (status.known, status.running, status.numerator, status.denominator) == (True, True, 12, 0)
    assert (status.waiting_clients, status.fraction) == (3, None)
    assert parse_status((b"H:1", b"1", b"1", b"9" * 5000, b"1")).numerator == 2**63 - 1


# -- worker


def assign(number: int) -> bytes:
    return response("JOB_ASSIGN_UNIQ", b"H:%d" % number, b"f", b"u", b"data")


def test_a_worker_grabs_works_and_sleeps() -> None:
    session = WorkerSession()
    session.hello([(b"f", 0), (b"slow", 1500)], b"me")
    assert requests(session.take_outgoing()) == ["SET_CLIENT_ID", "CAN_DO", "CAN_DO_TIMEOUT", "GRAB_JOB_UNIQ"]
    (job,) = session.receive(assign(1))
    assert (job.handle, job.function, job.unique, job.workload) == (b"H:1", "f", b"u", b"data")
    assert requests(session.take_outgoing()) == [], "one job at a time without prefetch"
    session.finish(PacketType.WORK_COMPLETE, b"H:1", b"done")
    assert requests(session.take_outgoing()) == ["WORK_COMPLETE", "GRAB_JOB_UNIQ"]
    assert session.receive(response("NO_JOB")) == []
    assert requests(session.take_outgoing()) == ["PRE_SLEEP"]
    session.receive(response("NOOP"))
    assert requests(session.take_outgoing()) == ["GRAB_JOB_UNIQ"]
    session.receive(response("NOOP"))
    assert requests(session.take_outgoing()) == [], "one grab is under way already"


def test_prefetch_grows_with_the_jobs_and_shrinks_without() -> None:
    session = WorkerSession(prefetch=8)
    session.hello([(b"f", 0)], None)
    session.take_outgoing()
    asked, number = 1, 0
    for expected in (2, 4, 8, 8):
        for _ in range(asked):
            number += 1
            session.receive(assign(number))
        for held in range(number - asked + 1, number + 1):
            session.finish(PacketType.WORK_COMPLETE, b"H:%d" % held, b"")
        asked = requests(session.take_outgoing()).count("GRAB_JOB_UNIQ")
        assert asked <= 8 and asked >= expected // 2
    session.receive(response("NO_JOB") * (asked - 1))
    assert requests(session.take_outgoing()) == [], "it sleeps after the last answer only"
    session.receive(response("NO_JOB"))
    assert requests(session.take_outgoing()) == ["PRE_SLEEP"]
    session.receive(response("NOOP"))
    assert requests(session.take_outgoing()) == ["GRAB_JOB_UNIQ"]


def test_a_leaving_worker_asks_for_nothing_more() -> None:
    session = WorkerSession(prefetch=2)
    session.hello([(b"f", 0)], None)
    session.receive(assign(1))
    session.take_outgoing()
    session.leave()
    session.finish(PacketType.WORK_FAIL, b"H:1")
    assert requests(session.take_outgoing()) == ["WORK_FAIL"]


def test_an_error_about_a_lost_job_is_reported_and_not_the_end() -> None:
    errors: list[ServerError] = []
    session = WorkerSession(on_error=errors.append)
    session.receive(response("ERROR", b"JOB_NOT_FOUND", b"gone"))
    WorkerSession().receive(response("ERROR", b"JOB_NOT_FOUND", b"gone"))
    assert [error.code for error in errors] == ["JOB_NOT_FOUND"]
    with pytest.raises(RemoteProtocolError, match="JOB_CREATED, which is not for a worker"):
        session.receive(response("JOB_CREATED", b"H:1"))


def test_a_worker_that_is_turned_away_is_told_so() -> None:
    errors: list[ServerError] = []
    with pytest.raises(ServerError, match="TOO_MANY_CONNECTIONS: full"):
        WorkerSession(on_error=errors.append).receive(response("ERROR", b"TOO_MANY_CONNECTIONS", b"full"))
    assert errors == []


@pytest.mark.parametrize("answer", [assign(2), response("NO_JOB")], ids=["a job", "none"])
def test_a_worker_gets_as_many_answers_as_it_has_grabs(answer: bytes) -> None:
    session = WorkerSession()
    session.hello([(b"f", 0)], None)
    session.receive(assign(1))
    with pytest.raises(RemoteProtocolError, match=r"(JOB_ASSIGN_UNIQ|NO_JOB) without having been asked"):
        session.receive(answer)


def test_a_worker_of_many_at_once_sleeps_with_jobs_in_hand() -> None:
    session = WorkerSession(prefetch=3, concurrency=2)
    session.hello([(b"f", 0)], None)
    session.receive(assign(1))
    assert requests(session.take_outgoing())[1:] == ["GRAB_JOB_UNIQ", "GRAB_JOB_UNIQ", "GRAB_JOB_UNIQ"]
    session.receive(response("NO_JOB") * 2)
    assert requests(session.take_outgoing()) == ["PRE_SLEEP"], "one of two runs"
    session.finish(PacketType.WORK_COMPLETE, b"H:1", b"")
    assert requests(session.take_outgoing()) == ["WORK_COMPLETE"], "who sleeps is woken, and need not ask"
    session.receive(response("NOOP"))
    session.receive(assign(2))
    session.receive(assign(3))
    assert requests(session.take_outgoing()) == ["GRAB_JOB_UNIQ"] * 3
    session.receive(response("NO_JOB"))
    assert requests(session.take_outgoing()) == [], "all that may run do"
    session.finish(PacketType.WORK_COMPLETE, b"H:2", b"")
    assert requests(session.take_outgoing()) == ["WORK_COMPLETE", "GRAB_JOB_UNIQ"]


def test_no_more_than_prefetch_are_asked_for_however_many_may_run() -> None:
    session = WorkerSession(prefetch=2, concurrency=10)
    session.hello([(b"f", 0)], None)
    asked = held = 0
    for number in range(1, 4):
        asked += requests(session.take_outgoing()).count("GRAB_JOB_UNIQ")
        assert asked + held <= 2
        if asked:
            session.receive(assign(number))
            asked, held = asked - 1, held + 1
    assert (asked, held) == (0, 2)


def test_who_waits_is_told_of_each_change_and_of_the_end() -> None:
    session, told = ClientSession(), []
    job, answer = submitted(session), Answer(notify=lambda: told.append("answer"))
    job.notify = lambda: told.append(f"{job.handle} {len(job.data)} {job.numerator} {job.is_over}")
    session.ask(answer, PacketType.ECHO_REQ, PacketType.ECHO_RES, b"")
    for words in [("JOB_CREATED", b"H:1"), ("WORK_DATA", b"H:1", b"d"), ("WORK_STATUS", b"H:1", b"1", b"2")]:
        session.receive(response(*words))  # type: ignore[arg-type]
    session.lose("there", RemoteProtocolError("nonsense"))
    assert told == ["H:1 0 0 False", "H:1 1 0 False", "H:1 1 1 False", "H:1 1 1 True", "answer"]
    assert str(job.error) == str(answer.error) == "the connection to there broke: nonsense"
    assert job.error is not answer.error, "many may raise it, each with a traceback"
