# SPDX-License-Identifier: MIT
"""What the fuzzers begin with, and all that they ever broke, played once more: without clang, in the build that is tested."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from fuzz.doors import DOORS, through
from fuzz.language import Program, size

HERE = Path(__file__).parent
DRIVERS = ("play", "parse")
CRASHES = sorted((HERE / "crashes").glob("*/*"))
Drivers = Callable[[str], ModuleType]


def play(drivers: Drivers, target: str, data: bytes) -> None:
    if target in DRIVERS:
        drivers(target).play(data)
    else:
        through(target, data)


@pytest.mark.parametrize("target", [*DRIVERS, *DOORS])
def test_the_corpus_breaks_nothing(drivers: Drivers, target: str) -> None:
    files = sorted((HERE / "corpus" / target).iterdir())
    assert files
    for file in files:
        try:
            play(drivers, target, file.read_bytes())
        except Exception as error:
            raise AssertionError(f"{file.name}: {error}") from error


@pytest.mark.parametrize("file", CRASHES, ids=lambda file: f"{file.parent.name}: {file.name}")
def test_what_once_broke_something_does_not_any_more(drivers: Drivers, file: Path) -> None:
    play(drivers, file.parent.name, file.read_bytes())


def test_the_player_sees_what_is_broken(drivers: Drivers) -> None:
    program = (
        Program()
        .say(0, "CAN_DO", 0)
        .say(1, "SUBMIT_JOB", 0, 1, size(5))
        .say(0, "GRAB_JOB")
        .say(0, "WORK_COMPLETE", 0, size(1))
    )
    drivers("play").play(bytes(program.code))
    with pytest.raises(AssertionError, match=r"state\.memory is not the sum"):
        drivers("play").play(bytes(program.code), breaks=True)


def test_the_repository_stays_small() -> None:
    files = [file for folder in ("corpus", "crashes") for file in (HERE / folder).rglob("*") if file.is_file()]
    assert len(files) <= 200 and sum(file.stat().st_size for file in files) <= 300_000
