# SPDX-License-Identifier: MIT
"""System calls of a job server for each job, counted: fastgear, the roofline (roofline.c) and gearmand.

    python benchmarks/syscalls.py [--rounds 3] [--peers fastgear,roofline,gearmand] [--by perf|strace] [--quick] [--save FILE.json]

Each load is a fixed number of jobs of `fastgear bench`, on a fresh process of the server; the servers take turns. What is counted
is all that the process calls, from before the load connects until it has gone, by `perf trace` where that can be had, and else by
`strace -c`. Both make the server slower, strace more so, and a slower server finds more waiting in each turn: "jobs/s meanwhile"
tells how slow it was. With one job at a time recv and send are exact; with many under way all are those of a server that is busier.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peers.choice import about, choose_peers
from peers.points import Stopped, load
from peers.servers import DidNotComeUp, Peer, running
from peers.tables import amount, spread, table
from peers.turns import Turns, add_options, end, take_turns

SERVERS = "fastgear,roofline,gearmand"
LIMIT_S = 60.0  # of a load
ATTACH_S = 10.0
GROUPS = {
    "epoll_wait": ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll"),
    "recv": ("recvfrom", "recvmsg"),
    "send": ("sendto", "sendmsg"),
    "read, write": ("read", "readv", "write", "writev"),
    "futex": ("futex",),
}
OTHERS = "others"
ACCEPTS = ("accept", "accept4")
STRACE_ROW = re.compile(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(?P<calls>\d+)\s+(?:\d+\s+)?(?P<name>\w+)$")
PERF_ROW = re.compile(r"\s+(?P<name>\w+)\s+(?P<calls>\d+)\s+\d[\d. %]*$")


@dataclass(frozen=True)
class Jobs:
    title: str
    words: str  # for fastgear bench
    count: int
    connections: int


LOADS = (
    Jobs("1 client, 1 worker, one job at a time", "foreground --clients 1 --workers 1", 10_000, 2),
    Jobs("8 clients, 8 workers, one job each", "foreground", 20_000, 16),
    Jobs("8 clients, 8 workers, 32 in flight", "foreground --pipeline 32 --grabs 32", 200_000, 16),
    Jobs(
        "4 clients, 100 background jobs in flight",
        "background --workers 0 --clients 4 --pipeline 100 --keep",
        200_000,
        4,
    ),
    Jobs("4 connections, 100 echoes in flight", "echo --clients 4 --pipeline 100", 500_000, 4),
)


@dataclass(frozen=True)
class Measured:
    jobs: int
    jobs_per_s: float
    calls: dict[str, int]  # by name

    def per_job(self, names: Iterable[str]) -> float:
        return sum(self.calls.get(name, 0) for name in names) / self.jobs

    @property
    def groups(self) -> dict[str, float]:
        """Calls a job, with the total at the end."""
        found = {title: self.per_job(names) for title, names in GROUPS.items()}
        total = self.per_job(self.calls)
        return found | {OTHERS: total - sum(found.values()), "total": total}


# -- counting


def choose_tool(wanted: str) -> str:
    """Raises SystemExit where there is none, or not the one that is wanted."""
    for tool in (wanted,) if wanted else ("perf", "strace"):
        if shutil.which(tool) and (tool == "strace" or perf_may()):
            return tool
    if wanted == "perf":
        sys.exit(
            "system calls cannot be counted by perf: it is not installed, or may not trace (it needs root, or CAP_PERFMON)"
        )
    sys.exit("system calls cannot be counted here: strace is not installed (Debian: apt-get install strace)")


def perf_may() -> bool:
    command = ["perf", "stat", "-e", "raw_syscalls:sys_enter", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def command_of(tool: str, pid: int, output: Path) -> list[str]:
    words = ["perf", "trace", "-s"] if tool == "perf" else ["strace", "-c", "-f"]
    return [*words, "-p", str(pid), "-o", str(output)]


@contextmanager
def counting(tool: str, pid: int, folder: Path) -> Iterator[Counter[str]]:
    """Calls by name, which are there at the end."""
    found: Counter[str] = Counter()
    output, log = folder / "calls", folder / f"{tool}.log"
    with open(log, "w") as errors, subprocess.Popen(command_of(tool, pid, output), stderr=errors) as process:
        try:
            wait_until_attached(process, tool, log)
            yield found
        finally:
            process.send_signal(signal.SIGINT)  # it lets go of the server, and writes
            try:
                process.wait(ATTACH_S)
            except subprocess.TimeoutExpired:
                process.kill()
    said = output.read_text()
    found.update(calls_in(said, tool))
    if "LOST" in said + log.read_text():
        raise Stopped("perf has lost some of the calls; --by strace loses none")


def wait_until_attached(process: subprocess.Popen[bytes], tool: str, log: Path) -> None:
    deadline = time.monotonic() + ATTACH_S
    if tool == "perf":
        time.sleep(0.5)  # it does not say; whether it was in time shows in the connections that it saw
    while tool == "strace" and "attached" not in log.read_text() and process.poll() is None:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    if process.poll() is not None:
        sys.exit(f"{tool} cannot be attached to the server: {log.read_text().strip()}")


def calls_in(text: str, tool: str) -> Counter[str]:
    """Of perf's table for each thread, or strace's for all of them."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        row = (PERF_ROW if tool == "perf" else STRACE_ROW).match(line)
        if row is not None and row["name"] != "total":
            found[row["name"]] += int(row["calls"])
    return found


def measure(peer: Peer, jobs: Jobs, count: int, tool: str) -> Measured:
    words = [*jobs.words.split(), "--count", str(count), "--warm-up", "0", "--seconds", str(LIMIT_S)]
    with tempfile.TemporaryDirectory(prefix="fastgear-syscalls-") as name:
        folder = Path(name)
        try:
            with running(peer.command, folder) as (pid, port), counting(tool, pid, folder) as calls:
                found = load(words, port, pid, LIMIT_S)
        except DidNotComeUp:
            raise Stopped("did not come up") from None
    if found["requests"] != count:
        raise Stopped(f"more than {LIMIT_S:g} s")
    if sum(calls[name] for name in ACCEPTS) < jobs.connections:
        raise Stopped(f"{tool} has not seen all connections, so it came too late, or lost calls")
    return Measured(count, found["per_s"], dict(calls))


# -- a table


def rows(turns: Turns[Measured]) -> Iterator[Sequence[str]]:
    for title, rounds in turns.results.items():
        load_title, _, peer = title.rpartition(": ")
        found = [one.groups for one in rounds]
        cells = [spread([one[group] for one in found], 3) for group in found[0]]
        yield [load_title, peer, *cells, amount(statistics.median(one.jobs_per_s for one in rounds))]


def shown(turns: Turns[Measured]) -> str:
    return table(["load; calls a job", "server", *GROUPS, OTHERS, "total", "jobs/s meanwhile"], rows(turns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=SERVERS, metavar="SERVERS", help=f"default: {SERVERS}")
    parser.add_argument("--by", choices=("perf", "strace"), default="", help="default: perf, or else strace")
    parser.add_argument("--scale", type=float, metavar="N", help="times as many jobs (default: 1; quick: 0.02)")
    add_options(parser)
    args = parser.parse_args()
    scale = args.scale or (0.02 if args.quick else 1.0)
    tool = choose_tool(args.by)
    peers = {peer.name: peer for peer in choose_peers(args.peers)}
    loads = {jobs.title: jobs for jobs in LOADS}

    def once(title: str) -> tuple[Measured, str]:
        load_title, _, peer = title.rpartition(": ")
        jobs = loads[load_title]
        found = measure(peers[peer], jobs, max(100, round(jobs.count * scale)), tool)
        return found, f"{found.groups['total']:.3f} calls a job"

    said = f"{about(list(peers.values()))}; counted by {tool}"
    turns = take_turns([f"{title}: {peer}" for title in loads for peer in peers], args, 3, once)
    end(args, turns, said, lambda: shown(turns))


if __name__ == "__main__":
    main()
