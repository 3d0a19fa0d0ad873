# SPDX-License-Identifier: MIT
"""Measurements and cases in processes of their own: how they are started, ended, and what they say."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from pools.cases import CASES, Case, Facts
from pools.peers import PEERS
from pools.workloads import WORKLOADS, Row, Workload

__all__ = ["Results", "behaviour", "child", "rounds"]

CHILD = Path(__file__).parent.parent / "pool.py"
MEASURE_S = 120  # the most that a measurement takes
LEAVE_S = 2  # in which processes may still leave

Results = dict[str, dict[str, list[float]]]


# -- in a process of its own


def child(peer: str, title: str, workers: int) -> None:
    """Measure a workload, by the title of its first row, or run a case; print JSON."""
    for workload in WORKLOADS:
        if workload.rows[0].title == title:
            print(json.dumps(workload.run(PEERS[peer], workers)))
            return
    (case,) = (case for case in CASES if case.title == title)
    made = PEERS[peer](workers)
    if made.map(abs, [-1, -2]) != [1, 2]:
        sys.exit("the pool does not work at all")
    case.run(made, say)
    made.end()
    say(ended=True)


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


# -- of the command


def share_cpu_time_with(pid: int) -> None:
    """Where the kernel gives each session CPU time of its own, give that of `pid` a share as large as ours.

    A process that is in a group of a control group's has no autogroup: its file is empty, or there is none.
    """
    with contextlib.suppress(OSError):
        group = Path("/proc/self/autogroup").read_text().split()  # "/autogroup-1 nice 0"
        if group:
            Path(f"/proc/{pid}/autogroup").write_text(group[-1])


class Session:
    """A process that is the leader of a session, by whose number all that it starts is found and ended."""

    def __init__(self, peer: str, title: str, workers: int) -> None:
        command = [sys.executable, str(CHILD), "--workers", str(workers), "--child", peer, title]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        share_cpu_time_with(self.process.pid)

    def run(self, limit: float) -> tuple[bool, str, str]:
        """Whether it ended within the time, its output, and its errors."""
        try:
            return True, *self.process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            self.kill()
            return False, *self.process.communicate()
        except BaseException:
            self.kill()
            raise

    def members(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["status"]):
            try:
                if os.getsid(process.pid) == self.process.pid and process.info["status"] != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except ProcessLookupError:
                continue
        return found

    def kill(self) -> int:
        """All that is left of it; how many processes those were."""
        members = self.members()
        for process in members:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return len(members)

    def leave(self) -> int:
        """Wait for the processes that it started, and end those that stay; how many those were."""
        deadline = time.monotonic() + LEAVE_S
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.02)
        left = self.kill()
        for pattern in (f"sem.loky-{self.process.pid}-*", f"joblib_memmapping_folder_{self.process.pid}_*"):
            for path in Path("/dev/shm").glob(pattern):  # which nobody removes when all are killed
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return left


def measure(peer: str, workload: Workload, workers: int) -> list[float]:
    """A number for each row; none, with a word, when that fails."""
    session = Session(peer, workload.rows[0].title, workers)
    ended, out, err = session.run(MEASURE_S)
    session.leave()
    try:
        return [float(value) for value in json.loads(out)]
    except ValueError:
        last = err.strip().splitlines()[-1:] if ended else [f"not done in {MEASURE_S} s"]
        print(f"{peer}, {workload.rows[0].title}: {' '.join(last)}", file=sys.stderr)
        return []


def rounds(workloads: Sequence[Workload], peers: Sequence[str], args: argparse.Namespace) -> Results:
    """By row and peer, a value of each round. A round that would pass the time limit is not begun."""
    rows: list[Row] = [row for workload in workloads for row in workload.rows]
    results: Results = {row.title: {peer: [] for peer in peers} for row in rows}
    begun = time.monotonic()
    longest = 0.0
    for number in range(args.rounds):
        round_begun = time.monotonic()
        if number and round_begun - begun + longest > args.limit:
            print(f"stopped after {number} rounds: the next would pass {args.limit:.0f} s", file=sys.stderr)
            break
        for workload in workloads:
            for peer in peers:
                values = measure(peer, workload, args.workers) if peer not in workload.without else []
                for row, value in zip(workload.rows, values, strict=False):
                    results[row.title][peer].append(value)
        longest = max(longest, time.monotonic() - round_begun)
    return results


def behave(peer: str, case: Case, args: argparse.Namespace) -> Facts:
    """What it said; whether it `hung`; its `outcome` in words."""
    session = Session(peer, case.title, args.workers)
    ended, out, err = session.run(args.patience)
    left = session.leave()
    facts: Facts = {}
    for line in out.splitlines():
        if line.startswith("{"):
            facts |= json.loads(line)
    facts |= {"hung": not ended, "left": left if facts.get("ended") else 0}
    if not facts.get("ended"):
        facts["stderr"] = err[-500:]
    return {**facts, "outcome": case.outcome(facts)}


def behaviour(cases: Sequence[Case], peers: Sequence[str], args: argparse.Namespace) -> dict[str, dict[str, Facts]]:
    """By case and peer."""
    return {case.title: {peer: behave(peer, case, args) for peer in peers} for case in cases}
