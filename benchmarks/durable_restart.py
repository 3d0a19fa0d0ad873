# SPDX-License-Identifier: MIT
"""A server that is started on a store with a million queued jobs.

    python benchmarks/durable_restart.py [--jobs 1000000] [--limit 300] [--only fastgear] [--save FILE.json]

fastgear gets its jobs through its socket, is stopped in good order and started again, and then once more after a kill. gearmand
would take a quarter of an hour or more for that: one job goes through its socket, so that it makes its table, and the others
are written there directly, as it would have. It is started as it comes, and with a hash table of a size for so many jobs.

Seconds are from the start of the process to its first answer, and to the first job that a worker is given. Then the first jobs
must come in the order in which they were submitted, and of others, here and there, the handles must be known; gearmand has no
handles that last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from durables.flood import FUNCTION, requests
from durables.servers import GEARMAND, MISSING, Command, fastgear_on, gearmand_on, life
from durables.wire import (
    CAN_DO,
    GET_STATUS,
    GRAB_JOB,
    JOB_ASSIGN,
    JOB_CREATED,
    STATUS_RES,
    Peer,
    request,
)
from peers.servers import free_port

from fastgear.version import VERSION

WINDOW = 1000
ROW_CHUNK = 50_000
BUCKETS = "--hashtable-buckets=2000003"


@dataclass(frozen=True)
class Started:
    server: str
    jobs: int
    filled_s: float
    stopped_s: float
    store_mb: float
    answer_s: float
    first_job_s: float
    rss_mb: float
    in_order: int  # jobs, from the first one on
    handles_known: int
    handles_asked: int


def submit(port: int, jobs: int) -> list[bytes]:
    """All of them by one connection; their handles."""
    data, length = requests(jobs)
    handles: list[bytes] = []
    with Peer(port) as peer:
        for at in range(0, jobs, WINDOW):
            peer.send(data[at * length : (at + WINDOW) * length])
            handles += [peer.expect(JOB_CREATED)[0] for _ in range(min(WINDOW, jobs - at))]
    return handles


def memory_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss / 1e6)


def grab(worker: Peer) -> bytes:
    """The workload of the job that it gets."""
    worker.send(request(GRAB_JOB))
    return worker.expect(JOB_ASSIGN)[2]


def count_known(port: int, handles: list[bytes]) -> int:
    with Peer(port) as peer:
        peer.send(*(request(GET_STATUS, handle) for handle in handles))
        return sum(peer.expect(STATUS_RES)[1] == b"1" for _ in handles)


def start_again(
    name: str,
    command: Command,
    store: Path,
    filled: tuple[float, float],
    jobs: int,
    handles: list[bytes],
    args: argparse.Namespace,
) -> Started | None:
    """None when it is not up in time."""
    size = sum(path.stat().st_size for path in store.parent.glob(store.name + "*"))
    begun = time.monotonic()
    with life(command, free_port(), store.parent) as server:
        try:
            answer = server.wait_until_up(args.limit)
        except TimeoutError:
            return None
        if answer < 0:
            sys.exit(f"{name} does not start: {server.log.read_text()[-1000:]}")
        with Peer(server.port) as worker:
            worker.send(request(CAN_DO, FUNCTION))
            workload = grab(worker)
            first = time.monotonic() - begun
            rss = memory_mb(server.process.pid)
            sample = handles[:: max(1, len(handles) // args.sample)]
            in_order, most = 0, min(args.sample, jobs)
            while in_order < most and workload == b"%016d" % in_order:
                in_order += 1
                workload = grab(worker) if in_order < most else b""
        known = count_known(server.port, sample)
        found = Started(name, jobs, *filled, size / 1e6, answer, first, rss, in_order, known, len(sample))
    return found


def fastgear(folder: Path, args: argparse.Namespace) -> list[Started | None]:
    store = folder / "jobs.db"
    command = fastgear_on(store)
    with life(command, free_port(), folder) as server:
        server.wait_until_up()
        begun = time.monotonic()
        handles = submit(server.port, args.jobs)
        filled = time.monotonic() - begun
        stopped = server.stop()
    after_stop = start_again("fastgear", command, store, (filled, stopped), args.jobs, handles, args)
    after_kill = start_again("fastgear, killed", command, store, (0.0, 0.0), args.jobs, handles, args)
    return [after_stop, after_kill]


def gearmand(folder: Path, args: argparse.Namespace) -> list[Started | None]:
    store = folder / "jobs.db"
    with life(gearmand_on(store), free_port(), folder) as server:
        server.wait_until_up()
        with Peer(server.port) as peer:
            peer.send(requests(1)[0])
            peer.expect(JOB_CREATED)
        stopped = server.stop(10)
    begun = time.monotonic()
    fill(store, args.jobs)
    filled = time.monotonic() - begun
    found = []
    for name, more in (("gearmand", ()), (f"gearmand {BUCKETS}", (BUCKETS,))):
        found.append(start_again(name, gearmand_on(store, *more), store, (filled, stopped), args.jobs, [], args))
        if found[-1] is None:
            print(f"{name} did not answer within {args.limit:g} s", flush=True)
    return found


def fill(store: Path, jobs: int) -> None:
    """As many rows as that, like the one that is there but for the names."""
    with sqlite3.connect(store) as db:
        db.row_factory = sqlite3.Row
        (row,) = db.execute("SELECT * FROM gearman_queue").fetchall()
        names, named = row.keys(), {"unique_key": "%016d", "data": b"%016d"}
        for at in range(1, jobs, ROW_CHUNK):
            numbers = range(at, min(at + ROW_CHUNK, jobs))
            rows = ([named[key] % number if key in named else row[key] for key in names] for number in numbers)
            db.executemany(
                f"INSERT INTO gearman_queue ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", rows
            )
    db.close()


def show(found: list[Started]) -> None:
    heads = f"{'filled':>10} {'stopped':>9} {'files':>10} {'answers':>10} {'first job':>10} {'RSS':>10}"
    print(f"  {'server':<38} {heads}   in order, handles known")
    for one in found:
        handles = f"{one.handles_known:,} of {one.handles_asked:,}" if one.handles_asked else ""
        print(
            f"  {one.server:<38} {one.filled_s:>8.1f} s {one.stopped_s:>7.2f} s {one.store_mb:>7.0f} MB {one.answer_s:>8.2f} s"
            f" {one.first_job_s:>8.2f} s {one.rss_mb:>7.0f} MB   {one.in_order:,}, {handles}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--sample", type=int, default=1000, help="jobs whose order and handles are checked")
    parser.add_argument("--limit", type=float, default=300, help="seconds that a start may take")
    parser.add_argument("--only", choices=["fastgear", "gearmand"], default="")
    parser.add_argument("--folder", help="on the disk to use; a temporary one by default")
    parser.add_argument("--save", help="write all numbers to this file, as JSON")
    args = parser.parse_args()
    print(
        f"fastgear {VERSION}, Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} CPUs;",
        end=" ",
    )
    print(f"{args.jobs:,} jobs of 16 bytes with uniques", flush=True)
    found: list[Started | None] = []
    for name, run in (("fastgear", fastgear), ("gearmand", gearmand)):
        if name == "gearmand" and GEARMAND is None:
            print(f"{MISSING}; it is left out", file=sys.stderr)
        elif args.only in ("", name):
            with tempfile.TemporaryDirectory(prefix="fastgear-restart-", dir=args.folder) as folder:
                found += run(Path(folder), args)
    done = [one for one in found if one is not None]
    show(done)
    if args.save:
        Path(args.save).write_text(json.dumps([asdict(one) for one in done], indent=1))
    right = all(
        one.in_order == min(args.sample, one.jobs) and one.handles_known == one.handles_asked
        for one in done
        if one.server.startswith("fastgear")
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
