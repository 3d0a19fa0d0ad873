# SPDX-License-Identifier: MIT
"""A real disk that a store has filled by itself: nothing is lost, and once its jobs have ended there is room again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "full_disk.py"
MOUNTS = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


@pytest.fixture(scope="module")
def mounts() -> list[str]:
    """Begins a command that may mount; nobody else sees what it does."""
    try:
        subprocess.run([*MOUNTS, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a small disk, as root in CI may")
    return MOUNTS


@pytest.mark.parametrize("killed", [False, True], ids=["lives", "killed"])
@pytest.mark.parametrize("size", [700, 3_000, 150_000, 2_000_000])
def test_a_disk_that_is_full_of_jobs_has_room_again_when_they_have_ended(
    size: int, killed: bool, mounts: list[str], tmp_path: Path
) -> None:
    package = Path(__import__("fastgear").__file__).parent.parent
    ran = subprocess.run(
        [*mounts, sys.executable, str(PROGRAM), str(tmp_path), str(size), *(["kill"] if killed else [])],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    outcome = json.loads(ran.stdout)
    assert outcome["accepted"] * size > 1_000_000
    assert len(outcome["log"]) <= 4, outcome["log"]
