# SPDX-License-Identifier: MIT
"""`fastgear serve` on a machine whose power goes: with tests/storage/faults.c under it, which drops what was not synced.

    LD_PRELOAD=faults.so python power.py faults.so STORE CALL SEED LOG serve ...

The process ends with code 99 at that call of write, fsync or ftruncate on the store's files. With a SEED other than 0 a random half
of what was not synced is there. LOG is how large SQLite's log may grow: with a small one, moving it into the file is often what is
interrupted.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["POWER_WENT", "compile_shim", "environment", "without_power"]

POWER_WENT = 99
SOURCE = Path(__file__).parents[2] / "tests/storage/faults.c"


def compile_shim(folder: Path) -> Path:
    made = folder / "faults.so"
    compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(SOURCE), "-ldl"], check=True)
    return made


def environment(shim: Path) -> dict[str, str]:
    return {**os.environ, "LD_PRELOAD": str(shim)}


def without_power(command: list[str], shim: Path, store: Path, call: int, seed: int, log: int) -> list[str]:
    """The command of a server, `python -m fastgear serve ...`, made one whose power goes."""
    return [command[0], __file__, str(shim), str(store), *map(str, (call, seed, log)), *command[3:]]


def main() -> None:
    shim, store, *numbers = sys.argv[1:6]
    call, seed, log = map(int, numbers)
    library = ctypes.CDLL(shim)
    at = (ctypes.c_long(0), 0, 0, ctypes.c_long(call), ctypes.c_uint(seed))  # no call fails before
    library.faults_begin(store.encode(), b"write,sync,truncate,", *at)
    from fastgear.cli.main import main as fastgear
    from fastgear.storage import sqlite

    sqlite._WAL_LIMIT = log
    sys.argv[1:] = sys.argv[6:]
    sys.exit(fastgear())


if __name__ == "__main__":
    main()
