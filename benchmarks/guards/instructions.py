# SPDX-License-Identifier: MIT
"""Instructions of each hot path, as callgrind counts them: the same on a busy machine, and in every run.

Each loop is gone through twice under `valgrind --tool=callgrind`, and the second time counts: by then tables are what they stay.
What is counted is fastgear's own code, and the loop's, inside of `Loop.repeat`; and how often it asks for memory, since what malloc
does then depends on all that happened in the process before, up to the length of the environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from guards.build import loops
from guards.paths import PATHS

__all__ = ["VALGRIND", "count", "find", "own_code"]

BENCHMARKS = Path(__file__).parent.parent
VALGRIND = "valgrind"
TIMES = 2
LIMIT_S = 300
REPEAT = "__pyx_f_5loops_*_repeat"  # what Cython calls that method, in whatever module and class
ALSO_REPEAT = "*5loops_*_repeat"  # the same; callgrind takes one option only for each way of writing it
ASKS = re.compile(r"__pyx_f_\w+alloc_fg_(malloc|calloc|realloc)")
NAMED = re.compile(r"(ob|cob|fn|cfn)=\((\d+)\)(?: (.*))?")
COST = re.compile(r"[-+*\d]\S* (\d+)")


def find() -> str | None:
    """Where valgrind is; None: it is not installed."""
    return shutil.which(VALGRIND)


def count(names: Sequence[str]) -> dict[str, float]:
    """Of each path, for one time through it: instructions and, under "NAME, memory", how often it asks for some.

    Raises RuntimeError when valgrind does not do as it should.
    """
    import fastgear

    folders = [str(Path(str(module.__file__)).parent) + os.sep for module in (fastgear, loops("loop"))]
    with tempfile.TemporaryDirectory(prefix="fastgear-callgrind-") as folder:
        _run(names, folder)
        parts = sorted(Path(folder).glob("out.*"), key=lambda path: int(path.suffix[1:]))
        counts = [found for part in parts if (found := own_code(part.read_text().splitlines(), folders)) != (0, 0)]
    if len(counts) != TIMES * len(names):
        raise RuntimeError(f"valgrind found {len(counts)} runs of loops, and not {TIMES * len(names)}")
    few = {path.name: path.few for path in PATHS}
    found = {}
    for name, (instructions, asks) in zip(names, counts[TIMES - 1 :: TIMES], strict=True):
        found[name] = instructions / few[name]
        found[f"{name}, memory"] = asks / few[name]
    return found


def _run(names: Sequence[str], folder: str) -> None:
    options = [f"--callgrind-out-file={folder}/out", f"--toggle-collect={REPEAT}", f"--dump-after={ALSO_REPEAT}"]
    program = [sys.executable, "-W", "ignore", "-m", "guards.instructions", *names]
    command = [VALGRIND, "--tool=callgrind", "--quiet", *options, *program]
    path = os.pathsep.join([str(BENCHMARKS), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"valgrind failed: {done.stderr[-1000:]}")


def own_code(lines: Iterable[str], folders: Sequence[str]) -> tuple[int, int]:
    """Of what callgrind wrote: the instructions in libraries from these folders, and how often they asked for memory.

    A name is written out where it comes first, and is a number from then on.
    """
    names: dict[tuple[str, str], str] = {}
    at: dict[str, str] = {}
    instructions = asks = 0
    is_call = False
    for line in lines:
        if named := NAMED.match(line):
            key, number, name = named.groups()
            kind = key.removeprefix("c")
            if name is not None:
                names[kind, number] = name
            at[key] = names[kind, number]
        elif line.startswith("calls="):
            is_call = True
            if ASKS.fullmatch(at.get("cfn", "").partition("'")[0]):
                asks += int(line[len("calls=") :].split()[0])
        elif cost := COST.match(line):
            if not is_call and at.get("ob", "").startswith(tuple(folders)):
                instructions += int(cost[1])
            is_call = False
    return instructions, asks


def main(names: Sequence[str]) -> None:
    """Under valgrind."""
    by_name = {path.name: path for path in PATHS}
    for name in names:
        loop = by_name[name].make()
        for _ in range(TIMES):
            loop.run(by_name[name].few)


if __name__ == "__main__":
    main(sys.argv[1:])
