# SPDX-License-Identifier: MIT
"""fastgear serve beside Debian's gearmand, under the same load, in one run.

    python benchmarks/compare.py [--jobs 100000] [--rounds 5]

The servers take turns, each round with fresh processes; what is shown is the median of the rounds, with the lowest and
the highest. CPU is what the kernel counted for the server's threads during the load, over the number of jobs. The load
is benchmarks/load.c, which knows nothing of fastgear.
"""

from __future__ import annotations

import argparse
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
LIMIT_S = 120


@dataclass(frozen=True)
class Load:
    title: str
    clients: int
    workers: int
    window: int  # jobs under way for each client
    grabs: int  # requests for jobs under way for each worker
    share: float = 1.0  # of --jobs

    def run(self, program: Path, port: int, jobs: int) -> tuple[float, float]:
        """Seconds, and the median latency in microseconds. Raises CalledProcessError when the load is not done in time."""
        numbers = (jobs, self.clients, self.workers, self.window, self.grabs, 16, LIMIT_S)
        command = [str(program), "127.0.0.1", str(port), *map(str, numbers)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT_S + 10)
        seconds, p50_us, _ = map(float, done.stdout.split())
        return seconds, p50_us


LOADS = (
    Load("8 clients, 8 workers, one job each", 8, 8, 1, 1),
    Load("8 clients, 8 workers, 32 in flight", 8, 8, 32, 32),
    Load("1 client, 1 worker, one job at a time", 1, 1, 1, 1, share=0.1),
)


@dataclass(frozen=True)
class Measured:
    jobs_per_s: float
    cpu_us: float
    p50_us: float


def cpu_ns(pid: int) -> int:
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def fastgear_command(port: int) -> list[str]:
    return [sys.executable, "-m", "fastgear", "serve", "--listen", f"127.0.0.1:{port}"]


def gearmand_command(port: int) -> list[str]:
    return [str(GEARMAND), "-p", str(port), "-L", "127.0.0.1", "-l", "stderr"]


def one_thread_command(port: int) -> list[str]:
    return [*gearmand_command(port), "-t", "1"]


SERVERS: dict[str, Callable[[int], list[str]]] = {
    "fastgear": fastgear_command,
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


def measure(command: Callable[[int], list[str]], load: Load, program: Path, jobs: int, folder: Path) -> Measured:
    with running(command, folder) as (pid, port):
        load.run(program, port, max(1000, jobs // 20))  # warm up
        before = cpu_ns(pid)
        seconds, p50_us = load.run(program, port, jobs)
        return Measured(jobs / seconds, (cpu_ns(pid) - before) / jobs / 1000, p50_us)


def compile_load(folder: Path) -> Path:
    program = folder / "load"
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", str(program), str(HERE / "load.c")], check=True)
    return program


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def show(load: Load, jobs: int, results: dict[str, list[Measured]]) -> None:
    print(f"\n{load.title}; {jobs:,} jobs of 16 bytes")
    print(f"  {'server':<14} {'jobs/s':>30} {'server CPU, µs a job':>28} {'p50, µs':>24}   against fastgear")
    base = results["fastgear"]
    for name, rounds in results.items():
        rate = statistics.median(one.jobs_per_s / other.jobs_per_s for one, other in zip(rounds, base, strict=True))
        cpu = statistics.median(one.cpu_us / other.cpu_us for one, other in zip(rounds, base, strict=True))
        print(
            f"  {name:<14} {spread([one.jobs_per_s for one in rounds], 0):>30} {spread([one.cpu_us for one in rounds], 2):>28}"
            f" {spread([one.p50_us for one in rounds], 0):>24}   {rate:.2f} x jobs/s, {cpu:.2f} x CPU"
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
    with tempfile.TemporaryDirectory(prefix="fastgear-bench-") as name:
        folder = Path(name)
        program = compile_load(folder)
        for load in LOADS:
            jobs = max(1, int(args.jobs * load.share))
            results: dict[str, list[Measured]] = {server: [] for server in SERVERS}
            for _ in range(args.rounds):
                for server, command in SERVERS.items():
                    results[server].append(measure(command, load, program, jobs, folder))
            show(load, jobs, results)


if __name__ == "__main__":
    main()
