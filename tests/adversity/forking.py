# SPDX-License-Identifier: MIT
"""A program whose forks fail, for test_forks.py: says what came of it, and what is left behind.

    LD_PRELOAD=calls.so FASTGEAR_CALLS=FILE python forking.py < lines

Each line is fork or spawn (how the workers are launched), pool or executor; the answers are lines of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import psutil
from rig import descriptors

import fastgear
from fastgear.config import SupervisorConfig
from fastgear.supervisor.launch import launch

READY_S = 20.0
subprocess._USE_VFORK = False  # type: ignore[attr-defined]  # which cannot be wrapped


def work(context: Any) -> None:
    """A worker that is ready, and waits for its end."""
    context.ready()
    time.sleep(600)


def launched(start: str) -> str:
    with launch(work, config=SupervisorConfig(workers=2), start=start) as workers:
        workers.wait_ready(2, READY_S)
    return "two workers"


def pooled() -> str:
    with fastgear.Pool(2) as pool:
        return str(sum(pool.map(abs, range(-100, 0))))


def executed() -> str:
    with fastgear.Executor(2) as executor:
        return str(sum(future.result(READY_S) for future in [executor.submit(abs, -n) for n in range(101)]))


def tried(what: str) -> dict[str, Any]:
    before = descriptors()
    result = error = ""
    try:
        result = {"pool": pooled, "executor": executed}.get(what, lambda: launched(what))()
    except Exception as found:
        error = f"{type(found).__name__}: {found}"
    deadline = time.monotonic() + 5
    while (children := psutil.Process(os.getpid()).children(recursive=True)) and time.monotonic() < deadline:
        time.sleep(0.01)
    left = [name for fd, name in descriptors().items() if before.get(fd) != name]
    return {"result": result, "error": error, "children": len(children), "descriptors": left}


if __name__ == "__main__":
    fastgear.map(abs, [1])  # whatever is made once and for all
    for line in sys.stdin:
        print(json.dumps(tried(line.strip())), flush=True)
