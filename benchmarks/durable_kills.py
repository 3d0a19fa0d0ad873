# SPDX-License-Identifier: MIT
"""Durable jobs while their server is killed at random moments, or the power goes, again and again.

    python benchmarks/durable_kills.py [--cycles 1000] [--durability full|normal] [--dead-after 0] [--seed N]
    python benchmarks/durable_kills.py --power [--cycles 200]
    python benchmarks/durable_kills.py --peer gearmand --cycles 20

In each cycle a server is started on the store that the last one left, clients submit background jobs and workers do them, some of
which hang up with jobs in hand, and it is killed by SIGKILL: some time after it has come up, or, in one of five cycles, while it is
starting. With --power the process ends within a random call on the store's files, and what had not been synced is not there, or,
every second time, a random half of it.

The books are kept in this process. After the last cycle all that is left is run. What was acknowledged must have been run, or, with
--dead-after, been put aside; a job whose end the store must know may not come back; and no handle may ever mean two jobs.
Exit code 1 otherwise, so for gearmand, which begins its handles anew at each start.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from durables.ledger import Ledger
from durables.load import LATEST_S, Load
from durables.power import POWER_WENT, compile_shim, environment, without_power
from durables.servers import GEARMAND, MISSING, Command, Life, fastgear_on, gearmand_on, life
from peers.servers import free_port

from fastgear.storage.sqlite import SqliteStore
from fastgear.version import VERSION

STARTING = 0.2  # the share of kills while the server starts
BACKLOGS = {"fastgear": 2000, "gearmand": 100}  # which takes far fewer jobs
MOST_CALLS = 400  # on the store's files, before the power goes
LOGS = (100_000, 16 << 20)  # SQLite's, at most
PATIENCE_S = 20
MUST_BE_NONE = ("lost", "run twice in one life", "run again though its end was recorded", "another job's handle")


@dataclass
class Times:
    """In seconds."""

    cycles: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    lives: list[float] = field(default_factory=list)  # from the first answer to the end
    early: int = 0  # ended before the first answer
    odd: list[str] = field(default_factory=list)  # ends that nobody had asked for


class Cycles:
    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.store = folder / "jobs.db"
        self._folder, self._args, self._port = folder, args, free_port()
        self._chance = random.Random(args.seed)
        self.ledger, self.times = Ledger(), Times()
        self._shim = compile_shim(folder) if args.power else None

    @property
    def command(self) -> Command:
        if self._args.peer == "gearmand":
            return gearmand_on(self.store)
        return fastgear_on(self.store, self._args.durability, f"--dead-after={self._args.dead_after}")

    def _load(self, *, run_all: bool = False) -> Load:
        varied = self._args.peer == "fastgear"  # without uniques, gearmand's table keeps one of them all
        backlog = None if run_all else BACKLOGS[self._args.peer]
        return Load(self._port, self.ledger, self._chance, varied=varied, backlog=backlog)

    def kill(self) -> None:
        """One cycle that ends by SIGKILL."""
        begun = time.monotonic()
        self.ledger.begin_life()
        with life(self.command, self._port, self._folder) as server:
            usual = statistics.median(self.times.starts or [0.3])
            if self._chance.random() < STARTING:
                self._kill_in(server, self._chance.uniform(0, 1.2 * usual))
            took = server.wait_until_up()
            up = time.monotonic()
            if took >= 0:
                self.times.starts.append(took)
                self._kill_in(server, self._chance.uniform(0, self._args.life))
            self._use(server, up)
            if server.kill() != -9:
                self.times.odd.append(server.log.read_text()[-1000:])
        self.times.cycles.append(time.monotonic() - begun)

    @staticmethod
    def _kill_in(server: Life, seconds: float) -> None:
        timer = threading.Timer(seconds, server.process.kill)
        timer.daemon = True
        timer.start()

    def _use(self, server: Life, up: float) -> None:
        """Until it has died."""
        try:
            load = self._load()
        except OSError:
            load = None
        if load is not None:
            load.run(lambda: time.monotonic() > up + PATIENCE_S)
            load.close()
            self.times.lives.append(time.monotonic() - up)
        else:
            self.times.early += 1
        with suppress(Exception):
            server.process.wait(PATIENCE_S)

    def lose_power(self) -> None:
        """One cycle that ends within a call on the store's files."""
        begun = time.monotonic()
        self.ledger.begin_life()
        shim, plain = self._shim, self.command
        assert shim is not None
        call = self._chance.randint(1, MOST_CALLS)
        seed = self._chance.choice((0, self._chance.randrange(1, 1 << 30)))
        log = self._chance.choice(LOGS)

        def command(port: int) -> list[str]:
            return without_power(plain(port), shim, self.store, call, seed, log)

        with life(command, self._port, self._folder, environment(shim)) as server:
            took = server.wait_until_up()
            if took >= 0:
                self.times.starts.append(took)
            self._use(server, time.monotonic())
            if server.kill() != POWER_WENT:
                self.times.odd.append(server.log.read_text()[-1000:])
        self.times.cycles.append(time.monotonic() - begun)

    def run_what_is_left(self) -> None:
        """On a server that nobody kills."""
        self.ledger.begin_life()
        with life(self.command, self._port, self._folder) as server:
            if server.wait_until_up() < 0:
                sys.exit(f"it does not start any more: {server.log.read_text()[-1000:]}")
            load = self._load(run_all=True)
            idle_since = 0.0

            def is_over() -> bool:
                nonlocal idle_since
                now = time.monotonic()
                if not load.idle:
                    idle_since = now
                    return False
                return now - idle_since > (LATEST_S + 1.5)

            load.run(is_over)
            load.close()
            server.stop()

    def put_aside(self) -> set[bytes]:
        """And what is odd about the store."""
        if self._args.peer == "gearmand":
            return set()
        with SqliteStore(self.store) as store:
            self.times.odd += [f"store check: {line}" for line in store.check()]
            if store.count()[0]:
                self.times.odd.append(f"{store.count()[0]} jobs are still in the store, though all had ended")
            return {dead.job.workload.rstrip() for dead in store.dead()}


def show(args: argparse.Namespace, cycles: Cycles, seconds: float) -> dict[str, int]:
    balance, times = cycles.ledger.balance(cycles.put_aside()), cycles.times
    for name, count in balance.items():
        print(f"{name:45} {count:>12,}")
    for text, count in cycles.ledger.refused.items():
        print(f"  refused {count:,}: {text.decode(errors='replace')}")
    for text in times.odd:
        print(f"odd: {text}")
    starts, lives = sorted(times.starts or [0.0]), sorted(times.lives or [0.0])
    ends = "losses of power" if args.power else "kills"
    print(
        f"{args.cycles:,} {ends} in {seconds:.0f} s, {times.early:,} of them before the first answer; a cycle took",
        end=" ",
    )
    print(
        f"{statistics.median(times.cycles):.2f} s (up to {max(times.cycles):.2f}), of which the start of the process",
        end=" ",
    )
    print(f"{statistics.median(starts):.2f} ({starts[0]:.2f} to {starts[-1]:.2f}) and life under load", end=" ")
    print(f"{statistics.median(lives):.3f} ({lives[0]:.3f} to {lives[-1]:.3f})")
    return balance


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, help="1000, or 200 losses of power, or 20 of gearmand")
    parser.add_argument("--peer", choices=["fastgear", "gearmand"], default="fastgear")
    parser.add_argument("--durability", choices=["full", "normal", "on-shutdown", "off"], default="full")
    parser.add_argument("--dead-after", type=int, default=0, help="fastgear's own default is 5")
    parser.add_argument("--power", action="store_true", help="let the power go, and do not kill")
    parser.add_argument("--life", type=float, default=0.15, help="longest time from the first answer to the kill")
    parser.add_argument("--folder", help="on the disk to use; a temporary one by default")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--save", help="write the balance to this file, as JSON")
    args = parser.parse_args()
    if args.peer == "gearmand" and (GEARMAND is None or args.power):
        parser.error("the power goes under fastgear only" if args.power else MISSING)
    args.cycles = args.cycles or (200 if args.power else 20 if args.peer == "gearmand" else 1000)
    return args


def main() -> int:
    args = parse()
    what = f"fastgear {VERSION}, durability {args.durability}, --dead-after {args.dead_after}"
    print(what if args.peer == "fastgear" else f"{GEARMAND} with SQLite", end=", ")
    print(
        f"Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} CPUs, seed {args.seed}",
        flush=True,
    )
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fastgear-kills-", dir=args.folder) as name:
        cycles = Cycles(args, Path(name))
        for _ in range(args.cycles):
            if args.power:
                cycles.lose_power()
            else:
                cycles.kill()
        cycles.run_what_is_left()
        balance = show(args, cycles, time.monotonic() - begun)
    if args.save:
        Path(args.save).write_text(json.dumps(vars(args) | {"balance": balance, "times": vars(cycles.times)}, indent=1))
    return 1 if any(balance[name] for name in MUST_BE_NONE) else 0


if __name__ == "__main__":
    sys.exit(main())
