# SPDX-License-Identifier: MIT
"""``fastgear demo``: an embedded server, a worker process for each CPU, and the words of every .py file of a folder."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastgear.cli.common import OK, USAGE, CommandError, note
from fastgear.cli.wordcount import words
from fastgear.cli.worker import work
from fastgear.config import SupervisorConfig
from fastgear.cpus import usable_cpus
from fastgear.progress import progress

if TYPE_CHECKING:
    from fastgear.server.server import Server

EXAMPLES = """\
examples:
  fastgear demo                    the standard library of this Python
  fastgear demo ~/src              another folder
  fastgear demo --serve            leave server and workers up, to be used from another shell
"""

_INSTALLED = {"site-packages", "dist-packages"}  # beside the standard library, not of it
_BATCH = 100_000
_START_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("folder", nargs="?", type=Path, help="where the .py files are (default: the standard library)")
    parser.add_argument("--serve", action="store_true", help="count nothing; leave server and workers up until Ctrl-C")
    parser.add_argument("-n", "--workers", type=int, help="worker processes (default: one for each CPU it may use)")


def run(args: argparse.Namespace) -> int:
    workers = args.workers if args.workers is not None else usable_cpus()
    if workers < 1:
        raise CommandError("--workers: at least 1 is needed", USAGE)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that everything is cleaned up
    if args.serve:
        return _serve(workers)
    folder = args.folder or Path(sysconfig.get_path("stdlib"))
    files = _read_files(folder)
    with _running(workers) as server:
        jobs = list(_batches(files))
        note(f"{len(jobs)} jobs, small files together, for {workers} worker processes")
        parallel = _count_by_jobs(server, jobs)
    serial = _count_serially(files)
    return _report(len(jobs), workers, parallel, serial)


# -- the server and its workers ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _running(count: int, *listen: str) -> Iterator[Server]:
    """A server on a Unix socket in a folder of its own, with worker processes that are ready; nothing is left at the end."""
    from fastgear.server.server import Server
    from fastgear.supervisor.launch import launch

    config, options = SupervisorConfig(workers=count), {"prefetch": 4}
    with (
        tempfile.TemporaryDirectory(prefix="fastgear-") as folder,  # mode 0700: nobody else gets in
        Server(f"unix:{folder}/server", *listen) as server,
        launch(work, "fastgear.cli.wordcount", (server.address,), options, config=config) as workers,
    ):
        workers.wait_ready(count, _START_S)
        yield server


def _serve(workers: int) -> int:
    with _running(workers, "127.0.0.1:0") as server:
        address = server.addresses[1]
        host, _, port = address.rpartition(":")
        print(f"serving on {address} and {server.address} with {workers} workers; Ctrl-C ends it. In another shell:\n")
        print(f"  echo 'to be or not to be' | {sys.executable} -m fastgear submit --server {address} wc")
        print(f"  {sys.executable} -m fastgear status --server {address}")
        print(f"  echo 'to be or not to be' | gearman -h {host} -p {port} -f wc")
        print(f"  gearadmin -h {host} -p {port} --status", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    return OK


# -- counting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Counted:
    total: Counter[str]
    seconds: float


def _read_files(folder: Path) -> list[bytes]:
    """Into memory, so that what is measured is the counting."""
    if not folder.is_dir():
        raise CommandError(f"{folder} is no folder", USAGE)
    files, unreadable = [], 0
    for path in sorted(folder.rglob("*.py")):
        if not _INSTALLED.isdisjoint(path.relative_to(folder).parts):
            continue
        try:
            files.append(path.read_bytes())
        except OSError:
            unreadable += 1
    if unreadable:
        note(f"{unreadable} files cannot be read, and are left out")
    if not files:
        raise CommandError(f"there are no .py files in {folder}", USAGE)
    note(f"{len(files)} files of {folder}, {sum(map(len, files)) / 1e6:.1f} MB")
    return files


def _batches(files: list[bytes]) -> Iterator[bytes]:
    """Workloads of whole files, each of at least _BATCH bytes: merging many small counts would take longer than counting."""
    batch: list[bytes] = []
    for text in files:
        batch.append(text)
        if sum(map(len, batch)) >= _BATCH:
            yield b"\n".join(batch)
            batch = []
    if batch:
        yield b"\n".join(batch)


def _count_by_jobs(server: Server, jobs: list[bytes]) -> _Counted:
    from fastgear.client.client import Client

    total: Counter[str] = Counter()
    start = time.perf_counter()
    with Client(server.address) as client:
        for job in progress(client.submit_many("wc", jobs, window=64), len(jobs), "jobs"):
            total.update(json.loads(job.result()))
    return _Counted(total, time.perf_counter() - start)


def _count_serially(files: list[bytes]) -> _Counted:
    total: Counter[str] = Counter()
    start = time.perf_counter()
    for text in progress(files, len(files), "files, serially"):
        total.update(words(text))
    return _Counted(total, time.perf_counter() - start)


def _report(jobs: int, workers: int, parallel: _Counted, serial: _Counted) -> int:
    if parallel.total != serial.total:
        raise CommandError("the workers' totals differ from the serial count; please report this")
    top = ", ".join(f"{word} {count}" for word, count in serial.total.most_common(5))
    print(f"{sum(serial.total.values())} words, {len(serial.total)} different; most often: {top}")
    print("the workers' totals are those of the serial count")
    print(f"{jobs} jobs in {parallel.seconds:.2f} s with {workers} workers: {jobs / parallel.seconds:.0f} jobs/s")
    print(f"serially {serial.seconds:.2f} s: speed-up {serial.seconds / parallel.seconds:.2f}")
    return OK
