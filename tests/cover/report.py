# SPDX-License-Identifier: MIT
"""What `make cover` has covered: report.py PYTHON.json FOLDER... reads coverage.py's report and gcc's counters below the folders.

Of Cython code the lines come from the counters in all the C that was made of them; an inline function is covered where one of
its copies is. Branches are counted where they are the source's own: in functions that need no GIL, and in C. Elsewhere Cython adds
one to nearly every line, for its exceptions. A check of an invariant has a branch that nothing may take; it is not counted.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HEADER = re.compile(r"( *)(?:cdef|cpdef|def|static)\b.*\(")


@dataclass
class Module:
    """Lines and, by line, the branches of a source: whether each was executed."""

    lines: dict[int, bool] = field(default_factory=dict)
    branches: dict[int, list[bool]] = field(default_factory=dict)

    def missed(self) -> str:
        """5-7 was not executed; of 9's branches some were not taken: 9b."""
        missed = sorted(number for number, executed in self.lines.items() if not executed)
        known = sorted(self.lines)
        runs: list[list[int]] = []
        for number in missed:
            if runs and known.index(number) == known.index(runs[-1][-1]) + 1:
                runs[-1].append(number)
            else:
                runs.append([number])
        found = [(run[0], f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0])) for run in runs]
        found += [
            (line, f"{line}b") for line, taken in self.branches.items() if self.lines.get(line) and not all(taken)
        ]
        return ", ".join(text for _, text in sorted(found))


@dataclass
class Sum:
    lines: int = 0
    executed: int = 0
    branches: int = 0
    taken: int = 0

    def add(self, module: Module) -> None:
        taken = [branch for branches in module.branches.values() for branch in branches]
        self.lines += len(module.lines)
        self.executed += sum(module.lines.values())
        self.branches += len(taken)
        self.taken += sum(taken)

    def cells(self) -> list[str]:
        return [
            str(self.lines),
            share(self.executed, self.lines),
            str(self.branches or ""),
            share(self.taken, self.branches),
        ]


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def python(report: Path) -> Iterator[tuple[str, Module]]:
    for name, found in json.loads(report.read_text())["files"].items():
        module = Module(
            {line: True for line in found["executed_lines"]} | {line: False for line in found["missing_lines"]}
        )
        for kind in ("executed", "missing"):
            for line, _ in found[f"{kind}_branches"]:
                module.branches.setdefault(line, []).append(kind == "executed")
        yield name[name.rindex("fastgear/") :] if "fastgear/" in name else name, module


def gcov(folders: list[Path]) -> Iterator[dict[str, Any]]:
    """For each source of each object what gcov knows of it."""
    notes = sorted(str(note.resolve()) for folder in folders for note in folder.rglob("*.gcno"))
    done = subprocess.run(
        ["gcov", "--branch-probabilities", "--json-format", "--stdout", *notes],
        check=True,
        capture_output=True,
        text=True,
    )
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            yield from json.loads(line)["files"]


def branching(source: list[str]) -> set[int]:
    """The lines whose branches are its own."""
    own: set[int] = set()
    within = False
    for number, text in enumerate(source, 1):
        if found := HEADER.match(text):
            header = text
            for more in source[number:]:
                if header.rstrip().endswith((":", "{", "}")):
                    break
                header += more
            within = "nogil" in header.rpartition(")")[2] or found[0].lstrip().startswith("static")
        if within and "fg_check(" not in text:
            own.add(number)
    return own


def cython(folders: list[Path]) -> dict[str, Module]:
    modules: dict[str, Module] = defaultdict(Module)
    sources: dict[str, list[str]] = {}
    own: dict[str, set[int]] = {}
    for found in gcov(folders):
        name = found["file"]
        if not name.startswith("fastgear/") or not (ROOT / name).exists():
            continue
        if name not in sources:
            sources[name] = (ROOT / name).read_text().splitlines()
            own[name] = branching(sources[name])
        module = modules[name]
        for line in found["lines"]:
            number = line["line_number"]
            if number > len(sources[name]) or not (text := sources[name][number - 1].strip()) or text.startswith("#"):
                continue
            module.lines[number] = module.lines.get(number, False) or line["count"] > 0
            if line["branches"] and number in own[name]:
                module.branches[number] = either(
                    module.branches.get(number, []), [branch["count"] > 0 for branch in line["branches"]]
                )
    return modules


def either(one: list[bool], other: list[bool]) -> list[bool]:
    longer, shorter = sorted((one, other), key=len, reverse=True)
    return [taken or other for taken, other in zip(longer, shorter + [False] * len(longer), strict=False)]


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def main(report: str, *folders: str) -> None:
    modules = dict(sorted((dict(python(Path(report))) | cython([Path(folder) for folder in folders])).items()))
    sums: dict[str, Sum] = defaultdict(Sum)
    rows = []
    for name, module in modules.items():
        own = Sum()
        kind = "Python" if name.endswith(".py") else "Cython"
        folder = str(Path(name).parent)
        for total in (own, sums[f"`{folder}` | {kind}"], sums[f"all | {kind}"], sums["all | both"]):
            total.add(module)
        if own.lines:
            rows.append([f"`{name}`", *own.cells(), module.missed()])
    columns = ["lines", "executed", "branches", "taken"]
    print(table(["module", *columns, "not executed, and b: not every branch taken"], rows), end="\n\n")
    names = sorted(sums, key=lambda name: (name.startswith("all"), name))
    print(table(["folder", "", *columns], ([name, *sums[name].cells()] for name in names if sums[name].lines)))


if __name__ == "__main__":
    main(*sys.argv[1:])
