# SPDX-License-Identifier: MIT
"""What is known of earlier runs, and whether what was found now is slower than that. Measures nothing.

Ratios are known by machine and compiler, since a processor is not as much faster than another one at each kind of work;
instructions by what compiled them.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "FILE", "Baseline", "Instructions", "Known", "Verdict", "judge", "judge_instructions", "known_from", "machine", "table",
    "toolchain",
]  # fmt: skip

FILE = Path(__file__).parent / "baseline.json"
TIMES_NOISE = 4  # so many standard deviations of the ratio are no news
EXACT = 0.01  # of instructions
NORMAL = 1.4826  # from the median distance to the median, to a standard deviation

Instructions = dict[str, float]


@dataclass(frozen=True)
class Known:
    """A guard's ratio, and the standard deviation, relative, of what several passes found."""

    ratio: float
    noise: float


@dataclass(frozen=True)
class Verdict:
    """`change` is relative: 0.2 is 20 % slower."""

    name: str
    known: float | None
    found: float
    change: float
    limit: float

    @property
    def is_slower(self) -> bool:
        return self.known is not None and self.change > self.limit

    @property
    def is_faster(self) -> bool:
        """So much that later slowdowns would hide behind it."""
        return self.known is not None and self.change < -self.limit

    @property
    def word(self) -> str:
        if self.known is None:
            return "new"
        return "SLOWER" if self.is_slower else "faster" if self.is_faster else "as before"


def judge(
    known: Mapping[str, Known], found: Mapping[str, Sequence[float]], least: Mapping[str, float]
) -> list[Verdict]:
    """The median of each guard's passes beside what is known of it; `least` is the slowdown that counts in any case."""
    verdicts = []
    for name, ratios in found.items():
        now, before = statistics.median(ratios), known.get(name)
        if before is None:
            verdicts.append(Verdict(name, None, now, 0.0, least[name]))
        else:
            limit = max(least[name], TIMES_NOISE * before.noise)
            verdicts.append(Verdict(name, before.ratio, now, now / before.ratio - 1, limit))
    return verdicts


def judge_instructions(known: Mapping[str, float], found: Mapping[str, float]) -> list[Verdict]:
    verdicts = []
    for name, now in found.items():
        before = known.get(name)
        change = now / before - 1 if before else math.inf if now and before is not None else 0.0
        verdicts.append(Verdict(name, before, now, change, EXACT))
    return verdicts


def known_from(ratios: Sequence[float]) -> Known:
    """Of several passes."""
    middle = statistics.median(ratios)
    distance = statistics.median(abs(one - middle) for one in ratios)
    return Known(round(middle, 6), round(NORMAL * distance / middle, 4))


def table(verdicts: Sequence[Verdict], unit: str) -> str:
    width = max(len(one.name) for one in verdicts)
    lines = [f"  {'':<{width}} {'before':>12} {'now':>12} {'change':>8} {'allowed':>8}   {unit}"]
    for one in verdicts:
        before = f"{one.known:12,.4f}" if one.known is not None else " " * 12
        change = f"{one.change:+8.1%}" if one.known is not None else " " * 8
        lines.append(f"  {one.name:<{width}} {before} {one.found:12,.4f} {change} {one.limit:+8.1%}   {one.word}")
    return "\n".join(lines)


# -- the file


class Baseline:
    """Of all machines that somebody stored one for."""

    def __init__(self, path: Path = FILE) -> None:
        self._path = path
        self._all: dict[str, Any] = {"ratios": {}, "instructions": {}}
        if path.exists():
            self._all |= json.loads(path.read_text())

    def ratios(self, machine: str) -> dict[str, Known]:
        return {name: Known(**one) for name, one in self._all["ratios"].get(machine, {}).items()}

    def instructions(self, toolchain: str) -> Instructions:
        return dict(self._all["instructions"].get(toolchain, {}))

    def machines(self) -> list[str]:
        return sorted(self._all["ratios"])

    def store_ratios(self, machine: str, known: Mapping[str, Known]) -> None:
        """Of the guards that are in `known`; of others it stays as it was."""
        self._all["ratios"].setdefault(machine, {}).update({name: asdict(one) for name, one in known.items()})
        self._write()

    def store_instructions(self, toolchain: str, counted: Instructions) -> None:
        self._all["instructions"][toolchain] = {name: round(one, 6) for name, one in counted.items()}
        self._write()

    def _write(self) -> None:
        """One line for each guard, so that a change can be read."""
        lines = []
        for kind, by_key in self._all.items():
            keys = [
                f"  {json.dumps(key)}: {{\n"
                + ",\n".join(f"   {json.dumps(name)}: {json.dumps(one)}" for name, one in names.items())
                + "\n  }"
                for key, names in by_key.items()
            ]
            lines.append(f" {json.dumps(kind)}: {{\n" + ",\n".join(keys) + "\n }")
        self._path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


# -- keys


def compiler() -> str:
    """As `gcc 12.2.0`."""
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    done = subprocess.run([*command.split(), "--version"], capture_output=True, text=True, check=False)
    words = (done.stdout.splitlines() or ["unknown"])[0].split()
    numbers = [word for word in words if word[0].isdigit()]
    return f"{'clang' if 'clang' in words else 'gcc'} {numbers[-1] if numbers else ''}".strip()


def processor() -> str:
    """Its name and, as names of virtual ones say little, its family, model and stepping."""
    found: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    kind = "-".join(found[name] for name in ("cpu family", "model", "stepping") if name in found)
    return f"{found.get('model name', platform.machine())} {kind}".strip()


def machine() -> str:
    python = ".".join(platform.python_version_tuple()[:2])
    return f"{processor()}, {os.cpu_count()} CPUs, {compiler()}, Python {python}"


def toolchain() -> str:
    """Python's own compiler flags come before the package's."""
    python = ".".join(platform.python_version_tuple()[:2])
    return f"{platform.machine()}, {compiler()}, Cython {importlib.metadata.version('Cython')}, Python {python}"
