# SPDX-License-Identifier: MIT
"""When a worker process is replaced, and how soon; with time that is made up."""

from __future__ import annotations

import pytest

from fastgear.config import SupervisorConfig
from fastgear.supervisor.board import Board
from fastgear.supervisor.channel import Channel
from fastgear.supervisor.events import Died, Event, Ready, Reason, Started, StartFailed, pack, unpack
from fastgear.supervisor.policy import FOREVER, Child, Pauses, lowered, lowered_jobs, surge


def child(started: float, ready: bool = True) -> Child:
    board = Board()
    return Child(1, 1, board.record(0), started, ready=ready)


def pauses_of(deaths: int, lives: float, ready: bool, most: float = 10.0, busy: bool = False) -> list[float]:
    pauses, now, found = Pauses(most), 100.0, []
    for _ in range(deaths):
        one = child(now, ready)
        now += lives
        pauses.died(one, now, 0, busy)
        found.append(pauses.until - now)
        now = max(now, pauses.until)
    return found


def test_pauses_double_with_jitter_up_to_a_bound() -> None:
    first, *others = pauses_of(12, 0.01, ready=True)
    assert first == 0
    for pause, most in zip(others, (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10, 10), strict=True):
        assert most / 2 <= pause <= most


def test_a_start_that_takes_long_and_fails_is_followed_by_pauses_too() -> None:
    assert pauses_of(4, 3.0, ready=False)[-1] >= 0.2


def test_one_that_has_lived_long_enough_is_replaced_at_once() -> None:
    assert pauses_of(4, 3.0, ready=True) == [0, 0, 0, 0]


def test_deaths_in_the_middle_of_jobs_have_short_pauses() -> None:
    assert all(pause <= 0.1 for pause in pauses_of(8, 0.01, ready=True, busy=True))


def test_a_death_long_after_the_others_is_a_first_one() -> None:
    pauses = Pauses(10.0)
    for _ in range(3):
        pauses.died(child(100.0), 100.1, 0, False)
    assert pauses.until > 100.1
    pauses.died(child(200.0), 200.1, 0, False)
    assert pauses.until == 200.1
    pauses.fork_failed(200.2)
    assert 200.25 <= pauses.until <= 200.3
    pauses.forget()
    assert pauses.until < 0


def test_limits_are_lowered_by_jitter_and_none_is_none() -> None:
    assert lowered(0, 0.5) == FOREVER and lowered(100, 0.0) == 100
    assert all(90 <= lowered(100, 0.1) <= 100 for _ in range(100))
    assert lowered_jobs(SupervisorConfig()) == 0
    assert lowered_jobs(SupervisorConfig(max_jobs=1, jitter=1.0)) == 1
    assert [surge(workers) for workers in (1, 4, 8, 100)] == [1, 1, 2, 25]


@pytest.mark.parametrize(
    "event",
    [
        Started(1, 2, 3),
        Ready(1, 2, 3),
        StartFailed(1, 2, 3, "ValueError", "text"),
        Died(1, 2, 3, -9, Reason.TIME_LIMIT, "why", True, 5, "f", 7),
    ],
    ids=lambda event: type(event).__name__,
)
def test_events_come_out_as_they_went_in(event: Event) -> None:
    assert unpack(pack(event)) == event


def test_a_channel_keeps_what_does_not_go_and_tells_the_end() -> None:
    one, other = Channel.pair()
    sent = [(number, str(number) * 300) for number in range(3000)] + [(0, str(digit) * 100_000) for digit in range(3)]
    for message in sent:
        one.post(message)
    one.flush()
    assert one.waiting
    found: list[tuple[object, ...]] = []
    while len(found) < len(sent):
        found += other.receive()
        one.flush()
    assert found == sent and not one.waiting
    one.finish()
    assert other.receive() == [] and other.closed
    other.send(("to nobody",))
    other.close()


def test_the_board_cuts_long_names_and_tells_busy_from_idle() -> None:
    board = Board()
    record = board.record(3)
    record.open(7)
    record.pid = 99
    record.begin("ä" * 500, 5)
    (info,) = board.workers()
    assert (info.slot, info.pid, info.generation, info.task) == (3, 99, 7, 5)
    assert info.function.startswith("ä" * 80) and len(info.function.encode()) <= 190
    assert record.end() == 1
    (info,) = board.workers()
    assert (info.jobs, info.function, info.task, info.ready, info.leaving) == (1, "", 0, False, False)
    record.clear()
    assert board.workers() == ()
    board.close()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("workers", 513, "workers: 513 is out of range; it is from 0 to 512"),
        ("max_jobs", 1.5, "max_jobs: 1.5 is not a whole number"),
        ("grace_s", "long", "grace_s: 'long' is not a number"),
        ("grace_s", float("nan"), "grace_s: nan is out of range"),
        ("jitter", 1.5, "jitter: 1.5 is out of range; it is from 0 to 1"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(field: str, value: object, message: str) -> None:
    from fastgear import ConfigError

    with pytest.raises(ConfigError, match=message):
        SupervisorConfig(**{field: value})  # type: ignore[arg-type]
