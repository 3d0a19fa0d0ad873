# SPDX-License-Identifier: MIT
"""fastgear serve beside Debian's gearmand and the roofline, under the same load, in one run.

    python benchmarks/compare.py [--jobs 100000] [--rounds 5]

The servers take turns, each round with fresh processes; what is shown is the median of the rounds, with the lowest and
the highest. CPU is what the kernel counted for the server's threads during the load, over the number of jobs. The load
is `fastgear bench`, which checks what it counts. The roofline is roofline.c: the same bytes passed along, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastgear.version import VERSION

HERE = Path(__file__).parent
GEARMAND = shutil.which("gearmand", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
ROOFLINE = HERE.parent / "build" / "roofline"
LIMIT_S = 120
FULL = 0.9  # of a CPU: the load could not do much more


@dataclass(frozen=True)
class Measured:
    jobs_per_s: float
    cpu_us: float
    p50_us: float
    load_share: float  # of a CPU, by the load itself


@dataclass(frozen=True)
class Load:
    title: str
    words: str  # for fastgear bench
    share: float = 1.0  # of --jobs

    def run(self, port: int, pid: int, jobs: int) -> Measured:
        """Raises CalledProcessError when something is wrong, or the load is not done in time."""
        numbers = ["--count", str(jobs), "--seconds", str(LIMIT_S), "--warm-up", "0.2", "--pid", str(pid), "--json"]
        command = [sys.executable, "-m", "fastgear", "bench", *self.words.split(), "--server", f"127.0.0.1:{port}"]
        done = subprocess.run([*command, *numbers], check=True, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S + 60)
        found = json.loads(done.stdout)
        if found["requests"] != jobs:
            sys.exit(f"{found['requests']:,} of {jobs:,} jobs after {LIMIT_S} s")
        cpu_us, p50_us = found["target"]["cpu_us_per_request"], found["latency_us"]["p50"]
        return Measured(found["per_s"], cpu_us, p50_us, found["own_cpu_share"])


LOADS = (
    Load("8 clients, 8 workers, one job each", "foreground"),
    Load("8 clients, 8 workers, 32 in flight", "foreground --pipeline 32 --grabs 32", share=4),
    Load("1 client, 1 worker, one job at a time", "foreground --clients 1 --workers 1", share=0.1),
    Load("4 connections, 100 echoes in flight", "echo --clients 4 --pipeline 100", share=10),
)


def fastgear_command(port: int) -> list[str]:
    return [sys.executable, "-m", "fastgear", "serve", "--listen", f"127.0.0.1:{port}"]


def gearmand_command(port: int) -> list[str]:
    return [str(GEARMAND), "-p", str(port), "-L", "127.0.0.1", "-l", "stderr"]


def one_thread_command(port: int) -> list[str]:
    return [*gearmand_command(port), "-t", "1"]


def roofline_command(port: int) -> list[str]:
    return [str(ROOFLINE), str(port)]


SERVERS: dict[str, Callable[[int], list[str]]] = {
    "fastgear": fastgear_command,
    "roofline": roofline_command,
    "gearmand": gearmand_command,
    "gearmand -t 1": one_thread_command,
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: Callable[[int], list[str]], folder: Path) -> Iterator[tuple[int, int]]:
    """A server process, up and listening: its pid and port."""
    port = free_port()
    with (
        open(folder / "server.log", "w") as log,
        subprocess.Popen(command(port), stdout=log, stderr=log, cwd=folder) as process,
    ):
        try:
            wait_until_up(process, port)
            yield process.pid, port
        finally:
            stop(process)


def wait_until_up(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as sock:
                sock.sendall(b"version\n")
                if sock.recv(100):
                    return
        except OSError:
            time.sleep(0.01)
    sys.exit(f"{process.args!r} did not come up")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()


def measure(command: Callable[[int], list[str]], load: Load, jobs: int, folder: Path) -> Measured:
    with running(command, folder) as (pid, port):
        return load.run(port, pid, jobs)


def compile_roofline() -> None:
    source = HERE / "roofline.c"
    if not ROOFLINE.exists() or ROOFLINE.stat().st_mtime < source.stat().st_mtime:
        ROOFLINE.parent.mkdir(exist_ok=True)
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", str(ROOFLINE), str(source)], check=True)


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def show(load: Load, jobs: int, results: dict[str, list[Measured]]) -> None:
    print(f"\n{load.title}; {jobs:,} of 16 bytes")
    print(
        f"  {'server':<14} {'jobs/s':>30} {'server CPU, µs a job':>28} {'p50, µs':>24} {'load CPU':>8}   against fastgear"
    )
    base = results["fastgear"]
    for name, rounds in results.items():
        rate = statistics.median(one.jobs_per_s / other.jobs_per_s for one, other in zip(rounds, base, strict=True))
        share = statistics.median(one.load_share for one in rounds)
        cpu = statistics.median(one.cpu_us / other.cpu_us for one, other in zip(rounds, base, strict=True))
        print(
            f"  {name:<14} {spread([one.jobs_per_s for one in rounds], 0):>30} {spread([one.cpu_us for one in rounds], 2):>28}"
            f" {spread([one.p50_us for one in rounds], 0):>24} {share:>8.0%}"
            f"   {rate:.2f} x jobs/s, {cpu:.2f} x CPU{'; the load is the limit' if share > FULL else ''}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if GEARMAND is None:
        sys.exit("there is no gearmand to compare with; Debian: apt-get install gearman-job-server")
    said = subprocess.run([GEARMAND, "--version"], capture_output=True, text=True, check=False).stdout
    peer = said.strip().partition(" - ")[0]
    print(f"fastgear {VERSION}, {peer}, Python {platform.python_version()}, {platform.machine()},")
    print(
        f"Linux {platform.release()}, {os.cpu_count()} CPUs; {args.rounds} rounds, the servers in turn: median (least to most)"
    )
    compile_roofline()
    with tempfile.TemporaryDirectory(prefix="fastgear-bench-") as name:
        folder = Path(name)
        for load in LOADS:
            jobs = max(1, int(args.jobs * load.share))
            results: dict[str, list[Measured]] = {server: [] for server in SERVERS}
            for _ in range(args.rounds):
                for server, command in SERVERS.items():
                    results[server].append(measure(command, load, jobs, folder))
            show(load, jobs, results)


if __name__ == "__main__":
    main()
