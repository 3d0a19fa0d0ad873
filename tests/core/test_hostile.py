# SPDX-License-Identifier: MIT
"""Every hostile request of tests/hostile/table.py in the core: its answer, whole and byte by byte, and no harm to others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from core.conftest import Talk
from hostile.judge import FOLLOWING, is_followed, verdict
from hostile.table import REQUESTS, Handles, Hostile
from speak import NAMES, request

from fastgear.protocol.replies import parse_priority_status, parse_show_jobs, parse_status, parse_uniques, parse_workers

CASES = [pytest.param(one, id=f"{one.family}: {one.name}") for one in REQUESTS]


class World:
    """A client, a worker with a job of its, and somebody who means no good."""

    def __init__(self, core: Any) -> None:
        self.core = core
        self.client, self.worker, self.admin, self.hostile = (Talk(core) for _ in range(4))
        self.worker.send("CAN_DO", b"good")
        self.good = self.submit(self.client, b"good")
        assert self.worker.say("GRAB_JOB")[0][0] == "JOB_ASSIGN"

    def submit(self, client: Talk, name: bytes, kind: str = "SUBMIT_JOB") -> bytes:
        ((_, (handle,)),) = client.say(kind, name, b"", b"x")
        return bytes(handle)

    def grab(self) -> Handles:
        """A job in the hostile one's hands."""
        own = self.submit(self.hostile, b"own", "SUBMIT_JOB_BG")
        self.hostile.send("CAN_DO", b"own")
        assert self.hostile.say("GRAB_JOB")[0][0] == "JOB_ASSIGN"
        self.hostile.core.receive(self.hostile.id, request("CANT_DO", b"own"))
        return Handles(own=own, foreign=self.good)

    def attack(self, one: Hostile, step: int) -> str:
        known = self.grab() if one.grabs else Handles(foreign=self.good)
        data = one.data(known) + (b"" if one.half else FOLLOWING)
        for at in range(0, len(data), step):
            if not self.core.is_closing(self.hostile.id):
                self.core.receive(self.hostile.id, data[at : at + step])
        came: bytes = self.core.sent(self.hostile.id)
        if one.half:
            self.core.advance(59)
            assert not self.core.is_closing(self.hostile.id)
            self.core.advance(2)
            came += self.core.sent(self.hostile.id)
        assert is_followed(came) or self.core.is_closing(self.hostile.id)
        return verdict(came, closed=self.core.is_closing(self.hostile.id))

    def check(self) -> None:
        """Others are served, and every listing can be read."""
        self.core.check()
        text = {
            line: self.admin.text(line.encode() + b"\n").decode(errors="surrogateescape")
            for line in ("status", "prioritystatus", "workers", "show jobs", "show unique jobs")
        }
        jobs = parse_show_jobs(text["show jobs"])
        assert sum(one.total for one in parse_status(text["status"])) == len(jobs)
        assert len(parse_uniques(text["show unique jobs"])) == len(jobs)
        assert len(parse_priority_status(text["prioritystatus"])) == len(parse_status(text["status"]))
        assert len(parse_workers(text["workers"])) == 4
        for name, fields in (("status", 4), ("prioritystatus", 5)):
            assert {len(line.split("\t")) for line in text[name].split("\n")[:-2]} == {fields}, "for any other reader"
        assert all(line.count(" :") == 1 for line in text["workers"].split("\n")[:-2]), "likewise"
        self.worker.send("WORK_COMPLETE", self.good, b"done")
        assert self.client.heard() == [("WORK_COMPLETE", (self.good, b"done"))]


@pytest.mark.parametrize("one", CASES)
def test_a_hostile_request_gets_its_answer_and_harms_nobody(make_core: Callable[..., Any], one: Hostile) -> None:
    for step in (1 << 20, 1):
        core = make_core()
        world = World(core)
        if step == 1 and len(one.data(Handles())) > 10_000:
            step = 1000
        assert world.attack(one, step) == one.gets
        world.check()
        for talk in (world.hostile, world.client, world.worker, world.admin):
            talk.leave()


def test_the_table_has_every_packet_type_and_no_request_twice() -> None:
    said = {(one.family, one.name) for one in REQUESTS}
    assert len(said) == len(REQUESTS)
    numbers = {int.from_bytes(one.data(Handles())[4:8], "big") for one in REQUESTS if one.family != "text"}
    assert set(NAMES) <= numbers
    assert not [one for one in REQUESTS if "silence" in one.gets]


def test_a_failing_with_more_than_its_handle_ends_the_job_and_a_status_with_more_does_not(
    talk: Callable[[], Talk],
) -> None:
    client, worker = talk(), talk()
    ((_, (handle,)),) = client.say("SUBMIT_JOB", b"f", b"", b"x")
    worker.send("CAN_DO", b"f")
    worker.say("GRAB_JOB")
    for numbers in ((b"1",), (b"1", b"2", b"3")):
        assert worker.say("WORK_STATUS", handle, *numbers)[0][1][0] == b"INVALID_ARGUMENT"
        assert client.heard() == []
    assert worker.say("WORK_FAIL", handle, b"why")[0][1][0] == b"INVALID_ARGUMENT"
    assert client.heard() == [("WORK_FAIL", (handle,))]


# -- halves ------------------------------------------------------------------------------------------------------------


def test_an_idle_connection_may_be_silent_for_years(core: Any, talk: Callable[[], Talk]) -> None:
    worker, client = talk(), talk()
    worker.send("CAN_DO", b"f")
    worker.send("PRE_SLEEP")
    core.advance(10 * 366 * 86400)
    assert client.say("SUBMIT_JOB", b"f", b"", b"x")[0][0] == "JOB_CREATED"
    assert worker.heard() == [("NOOP", ())]


@pytest.mark.parametrize("size", [100, 100_000])
def test_every_byte_gives_a_half_packet_its_time_again(core: Any, talk: Callable[[], Talk], size: int) -> None:
    one = talk()
    data = request("SUBMIT_JOB_BG", b"f", b"", b"x" * size)
    for at in range(20):
        core.receive(one.id, data[at : at + 1])
        core.advance(59)
    core.receive(one.id, data[20:50])
    core.advance(59)
    core.receive(one.id, data[50:])
    assert one.heard()[0][0] == "JOB_CREATED"
    core.advance(3600)
    assert not core.is_closing(one.id) and core.counters["unfinished"] == 0


def test_the_time_for_a_half_is_an_option(make_core: Callable[..., Any]) -> None:
    for seconds, after in [(5.0, 6.0), (0.0, 1e6)]:
        core = make_core(input_timeout=seconds)
        one = Talk(core)
        core.receive(one.id, request("ECHO_REQ", b"x")[:-1])
        assert core.next_due() == (pytest.approx(5.0) if seconds else None)
        core.advance(after)
        assert core.is_closing(one.id) == bool(seconds)


def test_a_half_whose_other_half_the_server_does_not_take_has_time(make_core: Callable[..., Any]) -> None:
    """The worker waits for a client that reads slowly: that is not its fault."""
    core = make_core(max_output=1 << 20, output_timeout=1000.0)
    client, worker = Talk(core), Talk(core)
    worker.send("CAN_DO", b"f")
    handles = []
    for _ in range(6):
        ((_, (handle,)),) = client.say("SUBMIT_JOB", b"f", b"", b"x")
        handles.append(handle)
        worker.say("GRAB_JOB")
    for handle in handles[:5]:
        worker.send("WORK_COMPLETE", handle, b"y" * 300_000)
    last = request("WORK_COMPLETE", handles[5], b"z")
    core.receive(worker.id, last[:-1])
    assert core.is_held(worker.id)
    core.advance(500)
    assert not core.is_closing(worker.id)
    core.take(client.id, 1 << 30)
    while core.turn():
        core.take(client.id, 1 << 30)
    core.advance(59)
    core.receive(worker.id, last[-1:])
    assert client.heard()[-1] == ("WORK_COMPLETE", (handles[5], b"z"))


def test_the_job_of_one_who_stops_in_the_middle_of_its_result_goes_to_another(
    core: Any, talk: Callable[[], Talk]
) -> None:
    client, first, second = talk(), talk(), talk()
    ((_, (handle,)),) = client.say("SUBMIT_JOB", b"f", b"", b"x")
    for worker in (first, second):
        worker.send("CAN_DO", b"f")
    first.say("GRAB_JOB")
    core.receive(first.id, request("WORK_COMPLETE", handle, b"y" * 100_000)[:60_000])
    core.advance(61)
    assert core.is_closing(first.id)
    first.leave()
    assert second.say("GRAB_JOB")[0][1][0] == handle
    assert core.memory < 1000
