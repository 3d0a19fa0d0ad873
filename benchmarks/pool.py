# SPDX-License-Identifier: MIT
"""fastgear's pool beside multiprocessing.Pool, ProcessPoolExecutor, loky, joblib, mpire, and doing it serially.

    python benchmarks/pool.py [--rounds 3] [--workers 2] [--limit 600] [--only WORD] [--peers A,B] [--save FILE.json]

Two tables. The first is of workloads: each measurement has a process of its own, so that nobody's threads or imports are another's;
peers take turns in each round. What is shown is the median of the rounds with the lowest and the highest; ratios are medians of
the rounds' ratios. The second is of behaviour: what becomes of a generator without an end in sight, of a thousand tasks among which
a worker is killed, and of functions, results and exceptions that are hard to send. Each case has a session of its own and
some seconds; what has not ended then hangs, and is killed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version

from pools import runs, tables
from pools.cases import CASES
from pools.peers import NEEDS, PEERS, installed
from pools.workloads import WORKLOADS


def versions(peers: list[str]) -> dict[str, str]:
    from fastgear.version import VERSION  # here: nothing of fastgear may slow the start of its peers

    found = {NEEDS[peer]: version(NEEDS[peer]) for peer in peers if peer in NEEDS}
    return {"fastgear": VERSION} | found | {"Python": platform.python_version(), "Linux": platform.release()}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=600, help="seconds after which no round is begun")
    parser.add_argument("--only", default="", help="workloads and cases whose title has this in it")
    parser.add_argument("--peers", default=",".join(PEERS), help="those, with commas between")
    parser.add_argument("--save", help="write all numbers and outcomes to this file, as JSON")
    parser.add_argument("--patience", type=float, default=12, help="seconds after which a case hangs")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.peers = args.peers.split(",")
    if unknown := set(args.peers) - PEERS.keys():
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return args


def chosen(peers: list[str]) -> list[str]:
    for peer in peers:
        if not installed(peer):
            print(f"{peer} is not installed, and left out", file=sys.stderr)
    return [peer for peer in peers if installed(peer)]


def main() -> None:
    args = parse()
    if args.child:
        runs.child(*args.child, args.workers)
        return
    peers = chosen(args.peers)
    workloads = [workload for workload in WORKLOADS if any(args.only in row.title for row in workload.rows)]
    cases = [case for case in CASES if args.only in case.title]
    if not workloads and not cases:
        sys.exit(f"no title has {args.only!r} in it")
    found = versions(peers)
    print(", ".join(f"{name} {number}" for name, number in found.items()) + f", {os.cpu_count()} CPUs,")
    print(f"{args.workers} workers, peers in turn, up to {args.rounds} rounds: median (least to most)\n", flush=True)
    saved = {"versions": found, "workers": args.workers}
    if workloads:
        rows = [row for workload in workloads for row in workload.rows]
        results = runs.rounds(workloads, peers, args)
        tables.values(rows, peers, results)
        saved |= {"results": results, "summary": tables.summary(rows, results)}
    if cases:
        pools = [peer for peer in peers if peer != "serial"]
        facts = runs.behaviour(cases, pools, args)
        print()
        tables.outcomes(pools, facts)
        saved |= {"cases": facts}
    if args.save:
        with open(args.save, "w") as file:
            json.dump(saved, file, indent=1)


if __name__ == "__main__":
    main()
