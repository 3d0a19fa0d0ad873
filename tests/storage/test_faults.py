# SPDX-License-Identifier: MIT
"""Faults below SQLite, at every n-th call: what was acknowledged is there, and what ended stays away.

FASTGEAR_POWER_POINTS sets how many losses of power are tried.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from storage.conformance import jobs
from storage.memory import MemoryStore
from storage.scripted import BATCHES, GAVE_UP, LOST, POWER_WENT, batch

from fastgear.storage.sqlite import SqliteStore

HERE = Path(__file__).parent
POWER_POINTS = int(os.environ.get("FASTGEAR_POWER_POINTS", "40"))


class Outcome(NamedTuple):
    code: int
    calls: int
    acknowledged: int
    begun: int
    path: Path


class Machine:
    """The scripted program on a disk that fails. One process for all cases, with a child for each."""

    def __init__(self, shim: Path, folder: Path) -> None:
        self._folder, self._number = folder, 0
        package = Path(__import__("fastgear").__file__).parent.parent
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "scripted.py"), str(shim), str(folder)],
            env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": str(package)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def run(self, **case: Any) -> Outcome:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(case) + "\n")
        code, calls, acknowledged, begun = map(int, self._process.stdout.readline().split())
        self._number += 1
        return Outcome(code, calls, acknowledged, begun, self._folder / str(self._number - 1) / "jobs.db")

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    made = tmp_path_factory.mktemp("shim") / "faults.so"
    source = str(HERE / "faults.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(made), source, "-ldl"], check=True
    )
    return made


@pytest.fixture
def machine(shim: Path, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(shim, tmp_path)
    yield made
    made.close()


def state(store: SqliteStore | MemoryStore) -> tuple[Any, ...]:
    return jobs(store), list(store.dead()), store.last_number


def model(batches: int) -> MemoryStore:
    made = MemoryStore()
    for number in range(batches):
        made.append(batch(number))
    return made


def verify(outcome: Outcome) -> None:
    """On a healthy disk: all that was acknowledged, as it was; the batch that was under way as a whole or not at all."""
    assert outcome.begun - outcome.acknowledged in (0, 1)
    with SqliteStore(outcome.path, durability="off") as store:
        assert store.check() == []
        assert state(store) in (state(model(outcome.acknowledged)), state(model(outcome.begun)))


FAULTS = [
    ("write", errno.ENOSPC),
    ("write", errno.EIO),
    ("sync", errno.EIO),
    ("truncate", errno.EIO),
    ("open", errno.EROFS),
    ("read", errno.EIO),
]
TELLS_FSYNC = sys.version_info >= (3, 11)  # from other I/O errors; without, each is final
QUEUE = 300


@pytest.mark.parametrize("stays", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize(("call", "error"), FAULTS, ids=[f"{call}-{errno.errorcode[error]}" for call, error in FAULTS])
def test_a_fault_at_every_call_loses_nothing(call: str, error: int, stays: bool, machine: Machine) -> None:
    codes: Counter[int] = Counter()
    for nth in range(1, 1000):
        outcome = machine.run(calls=[call], nth=nth, errno=error, stays=stays)
        verify(outcome)
        codes[outcome.code] += 1
        if outcome.calls < nth:
            break
    assert codes[0] >= 1 and set(codes) <= {0, LOST, GAVE_UP}, codes
    assert outcome.acknowledged == BATCHES
    if call == "read" or (error == errno.EIO and not TELLS_FSYNC):
        assert codes[LOST] >= 1, "SQLite takes a failed read for damage"
    elif call == "sync":
        assert codes[LOST] >= BATCHES, "an fsync that fails is final"
    elif stays:
        assert codes[GAVE_UP] >= 1 and codes[LOST] == 0, codes
    else:
        assert set(codes) == {0}, "what fails once is tried again, and works"


@pytest.mark.parametrize("call", ["write", "sync", "power"])
def test_a_queue_of_gearmand_is_imported_once_or_not_yet(call: str, machine: Machine) -> None:
    calls = ["write", "sync", "truncate"] if call == "power" else [call]
    for nth in range(1, 1000):
        fault = {"power": nth, "torn": nth} if call == "power" else {"nth": nth, "errno": errno.EIO, "stays": True}
        outcome = machine.run(calls=calls, queue=QUEUE, **fault)
        with SqliteStore(outcome.path, durability="off") as store:
            assert store.imported == (0 if outcome.acknowledged else QUEUE) or call == "power"
            assert [one.unique for one in jobs(store)] == [b"%d" % number for number in range(QUEUE)]
            assert store.check() == []
        if outcome.code == 0:
            break
    assert nth > 5 and outcome.code == 0


@pytest.mark.parametrize("durability", ["full", "normal"])
@pytest.mark.parametrize("torn", [False, True], ids=["nothing unsynced is there", "half of it is there"])
def test_the_power_goes_at_random_points(torn: bool, durability: str, machine: Machine) -> None:
    """With "normal" the last batches may be missing, but what is there is a state that there has been."""
    calls = ["write", "sync", "truncate"]
    total = machine.run(calls=calls, durability=durability).calls
    chance = random.Random(total)
    for _ in range(POWER_POINTS):
        seed = chance.randrange(1, 1 << 30) if torn else 0
        outcome = machine.run(calls=calls, durability=durability, power=chance.randint(1, total), torn=seed)
        assert outcome.code == POWER_WENT
        if durability == "full":
            verify(outcome)
            continue
        with SqliteStore(outcome.path, durability="off") as store:
            assert store.check() == []
            assert state(store) in [state(model(number)) for number in range(outcome.begun + 1)]


def test_the_shim_does_lose_what_was_not_synced(machine: Machine) -> None:
    """Or else the tests above would show nothing: without fsync, batches are lost."""
    calls = ["write", "sync", "truncate"]
    total = machine.run(calls=calls, durability="off").calls
    outcome = machine.run(calls=calls, durability="off", power=total - 1)
    assert outcome.code == POWER_WENT and outcome.acknowledged > 5
    with pytest.raises(Exception, match=r".*"), SqliteStore(outcome.path, durability="off") as store:
        assert state(store) == state(model(outcome.acknowledged))
