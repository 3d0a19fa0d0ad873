# SPDX-License-Identifier: MIT
"""Run tests in several processes at a time, since most of them wait most of the time:

    python tests/side_by_side.py [PYTEST-OPTION...] FOLDER-OR-FILE...

Each file of tests is a run of pytest of its own; where tests take milliseconds, each folder is. Nothing is added to those
processes: pytest-xdist would add a thread, and beside threads `Workers` does not fork. Tests marked `alone` come at the end, one
after the other. What a run prints is shown when it has ended: all of it if it has failed, or else what was skipped.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

PYTEST = Path(sys.executable).with_name("pytest")
TOGETHER = ("unit", "core", "wire")
# What takes long begins first, or else at the end all wait for one of them.
FIRST = (
    "test_yardstick.py",
    "test_aio.py",
    "core",
    "test_durable_benchmarks.py",
    "test_hostile.py",
    "test_faults.py",
    "test_calls.py",
)
NO_TESTS = 5  # an exit code of pytest's


class Run:
    """One of pytest, under way."""

    def __init__(self, name: str, *words: str) -> None:
        self.name = name
        self._begun = time.monotonic()
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [PYTEST, *words], stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT
        )

    def show(self) -> Counter[str]:
        """What it has printed, after its end; how many of its tests passed, and so on."""
        self._output.seek(0)
        text = self._output.read()
        self._output.close()
        counts = counted(text)
        print(f"{self.name}: {told(counts)}; {time.monotonic() - self._begun:.1f} s")
        if self.has_failed():
            counts["runs failed"] = 1
            print(text)
        elif "short test summary info" in text:
            print(*text.rpartition("short test summary info")[2].splitlines()[1:-1], sep="\n")
        sys.stdout.flush()
        return counts

    def has_failed(self) -> bool:
        return self.process.returncode not in (0, NO_TESTS)

    def stop(self) -> None:
        """Before its end, if somebody has lost patience."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def counted(text: str) -> Counter[str]:
    """From the last line that pytest prints."""
    last = text.rstrip().rpartition("\n")[2].partition(" in ")[0]
    return Counter({word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last) if word != "deselected"})


def told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items()) or "nothing to run"


def files(unit: Path) -> list[Path]:
    return [unit] if unit.is_file() else sorted(unit.rglob("test_*.py"))


def units(paths: list[str], ignored: set[str]) -> list[Path]:
    """What one run is for, each, in the order of their beginning."""
    found = {
        file.parent if file.parent.name in TOGETHER else file
        for path in paths
        for file in files(Path(path))
        if str(file) not in ignored
    }
    order = {name: place for place, name in enumerate(FIRST)}
    return sorted(found, key=lambda unit: (order.get(unit.name, len(order)), unit))


def side_by_side(options: list[str], waiting: list[Path], at_a_time: int) -> Counter[str]:
    total: Counter[str] = Counter()
    running: list[Run] = []
    with ExitStack() as stack:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                unit = str(waiting.pop(0))
                running.append(Run(unit, *options, "-m", "not alone", unit))
                stack.callback(running[-1].stop)
            for run in running:
                if run.process.poll() is not None:
                    total += run.show()
            running = [run for run in running if run.process.returncode is None]
            time.sleep(0.02)
    return total


def one_after_the_other(options: list[str], some: list[Path]) -> Counter[str]:
    run = Run("alone", *options, "-m", "alone", *map(str, some))
    try:
        run.process.wait()
    finally:
        run.stop()
    return run.show()


def main(words: list[str]) -> int:
    begun = time.monotonic()
    options = [word for word in words if word.startswith("-")]
    ignored = {word.partition("=")[2] for word in options if word.startswith("--ignore=")}
    all_of_them = units([word for word in words if word not in options], ignored)
    alone = [unit for unit in all_of_them if any("mark.alone" in file.read_text() for file in files(unit))]
    total = side_by_side(options, list(all_of_them), max(2, len(os.sched_getaffinity(0))))
    if alone:
        total += one_after_the_other(options, alone)
    print(f"\n{told(total)}; {time.monotonic() - begun:.0f} s")
    return 1 if total["runs failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
