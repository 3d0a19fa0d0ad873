# SPDX-License-Identifier: MIT
"""Instructions of each hot path, as callgrind counts them: the same on a busy machine, and in every run.

Each loop is gone through twice under `valgrind --tool=callgrind`, and the second time counts: by then memory and tables are what
they stay. What is counted is what happens inside of `Loop.repeat`, whoever is called by it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["VALGRIND", "count", "find"]

BENCHMARKS = Path(__file__).parent.parent
VALGRIND = "valgrind"
TIMES = 2
LIMIT_S = 300
REPEAT = "__pyx_f_5loops_*_repeat"  # what Cython calls that method, in whatever module and class
ALSO_REPEAT = "*5loops_*_repeat"  # the same; callgrind takes one option only for each way of writing it
TOTALS = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


def find() -> str | None:
    """Where valgrind is; None: it is not installed."""
    return shutil.which(VALGRIND)


def count(names: Sequence[str]) -> dict[str, float]:
    """Instructions of each path, for one time through it. Raises RuntimeError when valgrind does not do as it should."""
    with tempfile.TemporaryDirectory(prefix="fastgear-callgrind-") as folder:
        options = [f"--callgrind-out-file={folder}/out", f"--toggle-collect={REPEAT}", f"--dump-after={ALSO_REPEAT}"]
        program = [sys.executable, "-W", "ignore", "-m", "guards.instructions", *names]
        command = [VALGRIND, "--tool=callgrind", "--quiet", *options, *program]
        path = os.pathsep.join([str(BENCHMARKS), *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"valgrind failed: {done.stderr[-1000:]}")
        totals = _totals(Path(folder))
    if len(totals) != TIMES * len(names):
        raise RuntimeError(f"valgrind found {len(totals)} runs of loops, and not {TIMES * len(names)}")
    counts = dict(_few(names))
    return {name: totals[TIMES * (at + 1) - 1] / counts[name] for at, name in enumerate(names)}


def _totals(folder: Path) -> list[int]:
    """In the order of the runs; the last file is of what came after all of them."""
    parts = sorted(folder.glob("out.*"), key=lambda path: int(path.name.rpartition(".")[2]))
    found = []
    for part in parts:
        total = TOTALS.search(part.read_text())
        if total is not None and int(total[1]) > 0:
            found.append(int(total[1]))
    return found


def _few(names: Sequence[str]) -> list[tuple[str, int]]:
    from guards.paths import PATHS

    by_name = {path.name: path for path in PATHS}
    return [(name, by_name[name].few) for name in names]


def main(names: Sequence[str]) -> None:
    """Under valgrind."""
    from guards.paths import PATHS

    by_name = {path.name: path for path in PATHS}
    for name in names:
        loop = by_name[name].make()
        for _ in range(TIMES):
            loop.run(by_name[name].few)


if __name__ == "__main__":
    main(sys.argv[1:])
