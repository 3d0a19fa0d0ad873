# SPDX-License-Identifier: MIT
"""benchmarks/soak.py, briefly; and that its books and its slopes can tell what is wrong."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from benches import FOLDER, run_bench
from serving import until
from soaks.ledger import KEPT_S, MUST_BE_NONE, Ledger
from soaks.notes import Note, Notes, read_notes
from soaks.slopes import MIB, Sample, complaints, rise, slope

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="it starts the server itself")

HANDLE = "H:here:7"
CLIENT, WORKER, OTHER = 1, 2, 3


# -- the whole


@pytest.mark.alone("it kills and stops processes by the clock")
def test_a_soak_of_seconds(tmp_path: Path) -> None:
    words = "--minutes 0.08 --kill-every 0.6 --every 0.1 --rest-every 0.4 --most-rise 64 --seed 3"
    code, output = run_bench("soak.py", *words.split(), "--folder", str(tmp_path), "--save", f"{tmp_path}/saved.json")
    assert code == 0 and "all conditions are met" in output, output
    saved = json.loads((tmp_path / "saved.json").read_text())
    assert saved["not met"] == [] and [saved["balance"][name] for name in MUST_BE_NONE] == [0] * len(MUST_BE_NONE)
    assert saved["balance"]["kills"] >= 1
    assert min(saved["balance"][f"ends: {name}"] for name in ("result", "fail", "exception")) >= 1
    assert saved["balance"]["background jobs acknowledged"] > 5 and saved["balance"]["runs"] > 20
    assert len(saved["samples"]) >= 5 and os.listdir(tmp_path) == ["saved.json"]


@pytest.mark.alone("it kills and stops processes by the clock")
def test_interrupted_it_ends_all_that_it_has_started(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(FOLDER / "soak.py"), "--minutes", "1", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        children = until(lambda: enough(psutil.Process(process.pid).children(recursive=True)))
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 130 and "interrupted" in output
    until(lambda: not any(child.is_running() for child in children), "the end of all")
    assert os.listdir(tmp_path) == []


def enough(children: list[psutil.Process]) -> list[psutil.Process]:
    """The server, its supervisor, its worker, and some of the others."""
    return children if len(children) >= 8 else []


# -- the books


def take(*notes: Note) -> dict[str, int]:
    """What must be none, and is not."""
    ledger = Ledger()
    ledger.take(notes)
    balance = ledger.balance(set())
    said = ledger.complaints(balance)
    found = {name: balance[name] for name in MUST_BE_NONE if balance[name]}
    assert len(said) == len(found) and all(HANDLE in sentence for sentence in said)
    return found


def note(what: str, seconds: float = 0.0, pid: int = CLIENT, more: str = "", token: str = "quick.1") -> Note:
    return Note(what, seconds, pid, HANDLE, token, more)


def run(begun: float = 0.0, pid: int = WORKER, token: str = "quick.1") -> tuple[Note, Note]:
    return note("begins", begun, pid, token=token), note("done", begun + 0.1, pid, token=token)


def test_a_job_that_ran_and_ended_once_is_right() -> None:
    assert take(note("waits"), *run(), note("ended", more="result")) == {}
    assert take(*run(), note("background")) == {}, "a worker may be quicker than the client's note"


def test_a_job_that_was_not_run_is_lost() -> None:
    assert take(note("background")) == {"lost": 1}
    assert take(note("background"), note("begins", pid=WORKER), note("kills", 1, WORKER)) == {"lost": 1}
    assert take(note("background"), note("cancels")) == {}
    assert take(note("background"), note("cancels"), note("spared")) == {"lost": 1}


def test_who_waits_is_told_the_end_once() -> None:
    waits, ended = note("waits"), note("ended", more="result")
    assert take(waits, *run()) == {"without an end for a client that waits": 1}
    assert take(waits, *run(), note("kills", 9, CLIENT)) == {}
    assert take(waits, *run(), ended, ended) == {"ended twice": 1}
    assert take(waits, waits, *run(), ended, ended) == {}
    assert take(waits, note("ended", more="result")) == {"ended without having run": 1}


@pytest.mark.parametrize(
    ("token", "word", "is_right"),
    [
        ("quick.1", "fail", False),
        ("quick.1", "another result: b''", False),
        ("quick.1", "ConnectionLost: broken", False),
        ("quick.1", "left", True),
        ("failing.1", "fail", True),
        ("failing.1", "result", False),
        ("raising.1", "exception", True),
    ],
)
def test_the_end_has_to_be_the_right_one(token: str, word: str, is_right: bool) -> None:
    found = take(note("waits", token=token), *run(token=token), note("ended", more=word, token=token))
    assert found == ({} if is_right else {"ended otherwise than it should": 1})


def test_a_second_run_needs_a_reason() -> None:
    again = {"run again without a reason": 1}
    assert take(*run(), *run(5, OTHER)) == again
    assert take(*run(), note("kills", 0.5, WORKER), *run(5, OTHER)) == {}, "the result may not have left"
    assert take(*run(), note("kills", 4, WORKER), *run(5, OTHER)) == again, "it had left long before"
    assert take(*run(), note("kills", 0.5, OTHER), *run(5, OTHER)) == again
    assert take(note("begins", 0, WORKER), note("hangs-up", 4, WORKER), *run(5, OTHER)) == {}


def test_a_run_behind_the_timeout_is_a_reason() -> None:
    token = "timed.1"
    assert take(*run(token=token), *run(5, OTHER, token)) == {}
    again = {"run again without a reason": 1}
    assert take(*run(token=token), *run(1, OTHER, token)) == again
    stands_still = note("stops", -2, WORKER), note("goes-on", -0.1, WORKER)
    assert take(*stands_still, *run(token=token), *run(1, OTHER, token)) == {}, "it had come before"
    assert take(*stands_still, *run(1, token=token), *run(2, OTHER, token)) == again
    others = note("stops", -2, OTHER), note("goes-on", -0.1, OTHER)
    assert take(*others, *run(token=token), *run(1, OTHER, token)) == again


def test_no_job_is_cancelled_twice() -> None:
    """Or else what is told of the second time would be taken for the first one's."""
    ledger = Ledger()
    ledger.take([note("background")])
    assert ledger.unfinished() == [HANDLE]
    ledger.take([note("cancels", token="-")])
    assert ledger.unfinished() == []


def test_a_handle_means_one_job() -> None:
    assert take(note("background"), *run(token="quick.2")) == {"another job's handle": 2}


def test_a_job_that_is_over_is_remembered_by_its_handle() -> None:
    ledger = Ledger()
    ledger.take([note("waits"), *run(), note("ended", more="result")])
    ledger.settle(2 * KEPT_S)
    ledger.take([*run(2 * KEPT_S), note("ended", more="result"), note("waits")])
    balance = ledger.balance(set())
    wrong = {name: balance[name] for name in MUST_BE_NONE if balance[name]}
    assert wrong == {"run again without a reason": 1, "ended twice": 1, "another job's handle": 1}
    assert balance["jobs"] == 1


def test_notes_are_read_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    notes = Notes(str(path))
    reader: Iterator[Note | None] = read_notes(path)
    assert next(reader) is None
    notes.write("ended", HANDLE, "quick.1", "two words\nand a line")
    notes.fault("it broke")
    first, second = next(reader), next(reader)
    assert first is not None and first[2:] == (os.getpid(), HANDLE, "quick.1", "two words / and a line")
    assert second is not None and (second.what, second.more) == ("fault", "it broke")
    assert next(reader) is None
    notes.close()
    reader.close()  # type: ignore[attr-defined]


# -- the slopes


def samples(rss: float = 0.0, descriptors: float = 0.0, threads: float = 0.0) -> list[Sample]:
    """An hour of them; these are what it has more in the end. They are uneven, and the first half is worse."""
    chance = random.Random(7)

    def one(number: int) -> Sample:
        part, connections = number / 360, chance.randrange(10, 30)
        early = 20 * MIB * max(0.0, 0.5 - part)
        return Sample(
            seconds=10.0 * number,
            rss=int(50 * MIB + rss * part + chance.uniform(0, MIB) - early),
            descriptors=int(20 + connections + descriptors * part),
            threads=int(3 + threads * part),
            connections=connections,
            jobs=chance.randrange(20),
            memory=0,
            output=0,
            at_rest=number % 4 == 0,
        )

    return [one(number) for number in range(360)]


def test_what_does_not_rise_is_not_complained_of() -> None:
    assert complaints(samples(), MIB) == []


def test_what_rises_is_complained_of() -> None:
    (memory,) = complaints(samples(rss=4 * MIB), MIB)
    assert memory.startswith("the server's memory rose by ") and memory.endswith("MiB, and may by 1")
    (descriptors,) = complaints(samples(descriptors=4), MIB)
    assert descriptors.startswith("the server's descriptors beside those of connections rose by ")
    (threads,) = complaints(samples(threads=4), MIB)
    assert threads.startswith("the server's threads rose by ")
    assert complaints(samples()[:4], MIB) == ["there are too few samples to tell what rises"]


def test_a_slope_is_not_moved_by_odd_points() -> None:
    points = [(float(x), 2.0 * x) for x in range(20)]
    assert slope(points) == 2.0
    points[3], points[15] = (3.0, 1000.0), (15.0, -1000.0)
    assert slope(points) == 2.0
    assert rise(samples(rss=4 * MIB)[180:], lambda one: one.rss) == pytest.approx(2 * MIB, rel=0.1)
