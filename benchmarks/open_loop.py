# SPDX-License-Identifier: MIT
"""How far one CPU goes: the highest rate of foreground jobs, in an open loop, whose p99 stays under 10 ms.

    python benchmarks/open_loop.py [--rounds 3] [--seconds 2] [--p99 10] [--clients 64] [--workers 8] [--grabs 32]
                                   [--peers fastgear,gearmand,...] [--quick] [--save FILE.json]

The server is pinned to one CPU, and `fastgear bench --rate`, which measures from the moment when a job should have been sent, to
another one. Each rate has a fresh process of the server. The rate is doubled until it fails, and then the gap between what is good
and what is not is halved until it is 3 %. A rate fails when p99 is too high, when less than 98 % of it is done, or when jobs are
left unanswered; since other work on the machine may be the reason, it has to fail twice. The servers take turns. "limit" says who
had no CPU left at the lowest rate that failed: where it is the load, the server could do more. "waited for it" is how much of the
time that the server's threads wanted their CPU somebody else had it: where a server has one thread, that is other work.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.choice import about, choose_peers
from peers.cpus import pin, placed, scheduled, waited_share
from peers.points import Stopped, load
from peers.servers import DidNotComeUp, Peer, running
from peers.tables import spread, table
from peers.turns import Turns, add_options, end, take_turns

SERVERS = "fastgear,gearmand,gearmand tuned -t 1"
LEAST, MOST = 100.0, 10_000_000.0  # jobs a second
DONE = 0.98  # of the rate
TRIES = 2
BUSY = 0.9  # of a CPU: then there is hardly any left


@dataclass(frozen=True)
class Tried:
    """A rate, and what came of it."""

    rate: float
    failure: str  # empty when it is good
    per_s: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    server_us: float = 0.0  # CPU a job
    server_share: float = 0.0  # of a CPU
    load_share: float = 0.0
    waited: float = 0.0  # of the time that the server's threads wanted a CPU, without getting one


@dataclass(frozen=True)
class Found:
    good: Tried
    bad: Tried | None
    probes: int

    @property
    def limit(self) -> str:
        """Who had no CPU left."""
        at = self.bad if self.bad is not None and self.bad.per_s else self.good
        if at.load_share >= BUSY:
            return "server and load" if at.server_share >= BUSY else "the load"
        return "the server" if at.server_share >= BUSY else "neither had its CPU full"


# -- the search


def highest(probe: Callable[[float], Tried], first: float, precision: float) -> Found | None:
    """The highest rate that is good, and the lowest that is not; None where none is good. Measures nothing itself."""
    good: Tried | None = None
    bad: Tried | None = None
    probes = 0
    rate: float | None = first
    while rate is not None:
        for _ in range(TRIES):
            tried = probe(rate)
            probes += 1
            if not tried.failure:
                break
        good, bad = (good, tried) if tried.failure else (tried, bad)
        rate = next_rate(good, bad, precision)
    return Found(good, bad, probes) if good is not None else None


def next_rate(good: Tried | None, bad: Tried | None, precision: float) -> float | None:
    """Twice or half of what was tried while the other end is not known; then between them, until they are near enough."""
    if good is not None and bad is not None:
        return math.sqrt(good.rate * bad.rate) if bad.rate > good.rate * (1 + precision) else None
    if good is not None:
        return min(good.rate * 2, MOST) if good.rate < MOST else None
    return bad.rate / 2 if bad is not None and bad.rate / 2 >= LEAST else None


# -- a rate


def failure_of(found: dict[str, Any], rate: float, p99_ms: float) -> str:
    if found["unanswered"]:
        return f"{found['unanswered']:,} jobs without an answer"
    if found["per_s"] < DONE * rate:
        return f"only {found['per_s'] / rate:.1%} of the rate"
    p99 = found["latency_us"]["p99"] / 1000
    return f"p99 {p99:,.1f} ms" if p99 >= p99_ms else ""


def try_rate(peer: Peer, rate: float, args: argparse.Namespace, cpu: int | None, folder: Path) -> Tried:
    words = ["foreground", "--clients", str(args.clients), "--workers", str(args.workers), "--grabs", str(args.grabs)]
    words += ["--payload", str(args.payload), "--rate", f"{rate:.0f}", "--warm-up", str(min(0.3, args.seconds))]
    try:
        with running(peer.command, folder) as (pid, port):
            pin(pid, cpu)
            before = scheduled(pid)
            found = load([*words, "--seconds", str(args.seconds)], port, pid, 4 * args.seconds + 4)
            waited = waited_share(before, scheduled(pid))
    except DidNotComeUp:
        return Tried(rate, "did not come up")
    except Stopped as reason:
        return Tried(rate, str(reason))
    return Tried(
        rate=rate,
        failure=failure_of(found, rate, args.p99),
        per_s=found["per_s"],
        p50_us=found["latency_us"]["p50"],
        p99_us=found["latency_us"]["p99"],
        server_us=found["target"]["cpu_us_per_request"],
        server_share=found["target"]["cpu_share"],
        load_share=found["own_cpu_share"],
        waited=waited,
    )


def line(found: Found) -> str:
    failure = f"; {found.bad.rate:,.0f}/s fails: {found.bad.failure}" if found.bad is not None else ""
    return f"{found.good.rate:,.0f} jobs/s{failure}; {found.probes} probes"


# -- a table


def rows(results: dict[str, list[Found]]) -> Sequence[Sequence[str]]:
    ours = results.get("fastgear", [])
    made = []
    for name, rounds in results.items():
        good = [found.good for found in rounds]
        ratios = [one.good.rate / other.good.rate for one, other in zip(ours, rounds, strict=False)]
        made.append(
            [
                name,
                spread([one.rate for one in good], 0),
                spread([one.p50_us for one in good], 0),
                spread([one.p99_us for one in good], 0),
                spread([one.server_us for one in good], 2),
                f"{statistics.median(one.server_share for one in good):.0%}",
                f"{statistics.median(one.waited for one in good):.0%}",
                f"{statistics.median(one.load_share for one in good):.0%}",
                ", ".join(dict.fromkeys(found.limit for found in rounds)),
                f"{statistics.median(ratios):.2f} x" if ratios else "",
            ]
        )
    return made


def shown(turns: Turns[Found]) -> str:
    head = ["server", "highest rate, jobs/s", "p50, µs", "p99, µs", "server CPU, µs a job", "server's CPU"]
    return table([*head, "waited for it", "the load's CPU", "limit", "fastgear's rate"], rows(turns.results))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--peers", default=SERVERS, metavar="SERVERS", help=f"default: {SERVERS}; see peers/servers.py")
    add("--seconds", type=float, metavar="S", help="of each rate (default: 2; quick: 0.3)")
    add("--p99", type=float, default=10.0, metavar="MS", help="a rate whose p99 is as high as that fails (default: 10)")
    add("--clients", type=int, default=64)
    add("--workers", type=int, default=8)
    add("--grabs", type=int, default=32, help="requests for jobs that each worker has under way (default: 32)")
    add("--payload", type=int, default=16, metavar="BYTES")
    add("--first", type=float, default=50_000, metavar="N", help="the rate to begin with (default: 50000)")
    add("--precision", type=float, metavar="N", help="default: 0.03; quick: 0.5")
    add_options(parser)
    args = parser.parse_args()
    args.seconds = args.seconds or (0.3 if args.quick else 2.0)
    args.precision = args.precision or (0.5 if args.quick else 0.03)
    return args


def main() -> None:
    args = parsed()
    peers = {peer.name: peer for peer in choose_peers(args.peers)}
    said = about(list(peers.values()))
    with placed() as cpus, tempfile.TemporaryDirectory(prefix="fastgear-open-loop-") as name:

        def measure(peer: str) -> tuple[Found, str]:
            found = highest(
                lambda rate: try_rate(peers[peer], rate, args, cpus.server, Path(name)), args.first, args.precision
            )
            if found is None:
                raise Stopped(f"no rate down to {LEAST:g} jobs/s is good")
            return found, line(found)

        turns = take_turns(list(peers), args, 3, measure)
    said = f"{said}; {cpus}; {args.clients} clients, {args.workers} workers with {args.grabs} grabs under way, {args.payload} bytes"
    said += f"; open loop of {args.seconds:g} s, p99 under {args.p99:g} ms, to {args.precision:.0%}"
    end(args, turns, said, lambda: shown(turns))


if __name__ == "__main__":
    main()
