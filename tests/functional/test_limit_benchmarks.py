# SPDX-License-Identifier: MIT
"""The programs that look for limits, briefly. Of their figures only what must be is looked at."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from benches import FOLDER, bench

pytestmark = pytest.mark.skipif(
    "config.getoption('--server') != 'fastgear'", reason="they start the servers themselves"
)


def saved(folder: Path, program: str, *words: str) -> dict[str, list[dict[str, Any]]]:
    """The figures, by name and round."""
    output = bench(program, "--quick", "--quiet", "--save", f"{folder}/saved.json", *words)
    assert output.count("\n| --- |") == 1, output
    found: dict[str, list[dict[str, Any]]] = json.loads((folder / "saved.json").read_text())["results"]
    return found


@pytest.mark.alone("a rate that cannot be kept up is halved")
def test_open_loop(tmp_path: Path) -> None:
    words = ("--peers", "fastgear", "--first", "50000", "--precision", "1", "--p99", "1000", "--seconds", "0.2")
    ((found,),) = saved(tmp_path, "open_loop.py", *words, "--clients", "4", "--workers", "2").values()
    assert found["good"]["failure"] == "" and found["good"]["rate"] >= 100
    assert found["bad"] is None or found["bad"]["rate"] <= 2 * found["good"]["rate"] * 1.001
    assert found["good"]["server_us"] > 0 and found["good"]["load_share"] > 0


def test_embedded(tmp_path: Path) -> None:
    found = saved(tmp_path, "embedded.py", "--seconds", "0.4", "--only", "in flight")
    assert len(found) == 5 and all(len(rounds) == 1 for rounds in found.values())
    for title, (one,) in found.items():
        assert (one["jobs_per_s"] > 0) == (title != "burner alone")
        assert (one["steps_per_s"] > 0) == ("burn" in title), "what burns makes steps"


def test_longest_turn(tmp_path: Path) -> None:
    words = ("--jobs", "20000", "--connections", "20", "--seconds", "0.2")
    ((found,),) = saved(tmp_path, "longest_turn.py", *words).values()
    phases = found["phases"]
    assert list(phases) == ["fill", "load", "drain", "rest"]
    longest = [one["longest_turn_us"] for one in phases.values()]
    assert longest[0] > 0 and longest == sorted(longest)
    assert all(phases[name]["jobs_per_s"] > 0 for name in ("fill", "load", "drain"))
    assert found["bytes_per_job"] > 50


@pytest.mark.parametrize("tool", ["perf", "strace"])
def test_system_calls(tmp_path: Path, tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"there is no {tool}")
    if not may_trace(tool):
        pytest.skip(f"{tool} may not trace here")
    found = saved(tmp_path, "syscalls.py", "--by", tool, "--peers", "fastgear", "--scale", "0.01")
    assert len(found) == 5
    for (one,) in found.values():
        assert one["calls"]["recvfrom"] > 0 and one["calls"]["sendto"] > 0 and one["calls"]["epoll_wait"] > 0
    (single,) = found["1 client, 1 worker, one job at a time: fastgear"]
    assert 4 <= single["calls"]["recvfrom"] / single["jobs"] < 5


def may_trace(tool: str) -> bool:
    words = ["stat", "-e", "raw_syscalls:sys_enter"] if tool == "perf" else ["-c", "-o", "/dev/null"]
    return subprocess.run([tool, *words, "true"], capture_output=True, timeout=60, check=False).returncode == 0


def test_without_what_counts_system_calls(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "syscalls.py"), "--quick", "--peers", "fastgear"]
    path = os.pathsep.join(filter(None, sys.path))
    env = {**os.environ, "PYTHONPATH": path, "PATH": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    said = "system calls cannot be counted here: strace is not installed (Debian: apt-get install strace)\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_ctrl_c_shows_and_saves_what_there_is(tmp_path: Path) -> None:
    words = ["--rounds", "100", "--jobs", "1000", "--connections", "4", "--seconds", "0.1"]
    command = [sys.executable, str(FOLDER / "longest_turn.py"), *words, "--save", f"{tmp_path}/saved.json"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("[round 1] ")
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err and "interrupted" in err
    assert out.count("\n| --- |") == 1
    assert len(json.loads((tmp_path / "saved.json").read_text())["results"]["1 k jobs"]) >= 1
