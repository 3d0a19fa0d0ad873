# SPDX-License-Identifier: MIT
"""Programs of benchmarks/, run briefly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["FOLDER", "bench", "run_bench"]

FOLDER = Path(__file__).parents[1] / "benchmarks"


def run_bench(program: str, *words: str) -> tuple[int, str]:
    """Its exit code, and what it prints; nothing but that, no errors."""
    path = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-W", "ignore", str(FOLDER / program), *words]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr == "", done.stdout + done.stderr
    return done.returncode, done.stdout


def bench(program: str, *words: str) -> str:
    code, output = run_bench(program, *words)
    assert code == 0, output
    return output
