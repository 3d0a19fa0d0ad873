# SPDX-License-Identifier: MIT
"""fastgear serve beside other job servers, under the same loads, in one run: tables in Markdown, and pictures of curves.

    python benchmarks/compare.py [--quick] [--only loads,fill,...] [--points 0,500] [--peers fastgear,gearmand,...]
                                 [--rounds 3] [--save FILE.json] [--load FILE.json] [--page FILE.md ...] [--pictures FOLDER]

The servers take turns, in the order given, each point with a fresh process; shown is the median of the rounds, with the lowest and
the highest.
CPU is what the kernel counted for the server's threads during the load, over the number of jobs. The load is `fastgear bench`,
which checks what it counts. The roofline is roofline.c: the same bytes passed along, and nothing else. A server that needs more
than the time or memory of a point is stopped there, and its curve ends. What takes longer than 20 s is measured once.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from peers.axes import CURVES, Curve, Point
from peers.choice import about, choose_peers, chosen
from peers.pictures import draw
from peers.points import Measured
from peers.rounds import Limits, Results, run
from peers.servers import PEERS
from peers.tables import curve_table, loads_table, memory_table, replace_parts, summary_table

QUICK_MOST = {
    "fill": 100_000,
    "drain": 100_000,
    "functions": 1000,
    "sleepers": 500,
    "connections": 1000,
    "payload": 1 << 20,
}
TABLES = {"loads": loads_table, "memory": memory_table}


def choose_curves(args: argparse.Namespace) -> list[Curve]:
    names = chosen(args.only, [curve.name for curve in CURVES], "curve")
    found = [
        replace(curve, points=points)
        for curve in CURVES
        if curve.name in names and (points := choose_points(curve, args))
    ]
    if not found:
        sys.exit("no curve has such a point")
    return found


def choose_points(curve: Curve, args: argparse.Namespace) -> tuple[Point, ...]:
    """In the order given, and as often."""
    if args.points:
        by_value = {str(point.value): point for point in curve.points}
        return tuple(by_value[value] for value in args.points.split(",") if value in by_value)
    most = args.most if args.most is not None else QUICK_MOST.get(curve.name) if args.quick else None
    return tuple(point for point in curve.points if most is None or not curve.pictured or point.value <= most)


def in_turn(results: Results) -> str:
    """How many rounds there were."""
    counts = [len(found) for rows in results.rounds.values() for row in rows.values() for found in row.values()]
    most = max(counts, default=0)
    return f"{most} rounds in turn: median (least to most)" if most > 1 else "one round"


def saved(results: Results, said: str) -> dict[str, Any]:
    rounds = {
        curve: {
            point: {peer: [asdict(one) for one in found] for peer, found in row.items()} for point, row in rows.items()
        }
        for curve, rows in results.rounds.items()
    }
    return {"about": said, "rounds": rounds, "stopped": results.stopped}


def loaded(path: str) -> tuple[Results, str]:
    found = json.loads(Path(path).read_text())
    rounds = {
        curve: {
            point: {peer: [Measured(**one) for one in got] for peer, got in row.items()} for point, row in rows.items()
        }
        for curve, rows in found["rounds"].items()
    }
    return Results(rounds, found["stopped"]), found["about"]


def only_measured(curves: Sequence[Curve], results: Results) -> list[Curve]:
    """Each point once."""
    return [
        replace(
            curve,
            points=tuple(dict.fromkeys(point for point in curve.points if point.label in results.rounds[curve.name])),
        )
        for curve in curves
        if curve.name in results.rounds
    ]


def parts(curves: Sequence[Curve], results: Results, said: str) -> dict[str, str]:
    """Tables by name."""
    made = {curve.name: TABLES.get(curve.name, curve_table)(curve, results) for curve in curves}
    if len(curves) == len(CURVES):  # else a page would lose what was measured of the others
        made |= {"about": said, "summary": summary_table([curve for curve in curves if curve.pictured], results)}
    return made


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--quick", action="store_true", help="minutes: one round, and none of the large values")
    add("--only", default="", metavar="CURVES", help=f"of {', '.join(curve.name for curve in CURVES)}")
    add("--points", default="", metavar="VALUES", help="on the axis; of the loads, their numbers from 1 on")
    add("--peers", default="", metavar="SERVERS", help=f"of {', '.join(peer.name for peer in PEERS)}")
    add("--rounds", type=int, help="default: 3")
    add("--seconds", type=float, help="of measuring, where a point does not say how many jobs (default: 0.8)")
    add("--most", type=int, metavar="N", help="leave out larger values")
    add(
        "--point-limit",
        type=float,
        metavar="S",
        help="stop a server that takes longer at a point (default: 20; 10 M jobs: 60, 100; quick: 5)",
    )
    add("--limit", type=float, default=40, metavar="MIN", help="begin no round that would pass it (default: 40)")
    add("--save", metavar="FILE.json", help="all figures")
    add("--load", metavar="FILE.json", help="show those, and measure nothing")
    add("--quiet", action="store_true", help="no lines of progress")
    add("--page", nargs="*", default=[], metavar="FILE.md", help="put the tables between its marks")
    add("--pictures", metavar="FOLDER", help="draw the curves there")
    return parser.parse_args()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of what ends the servers
    args = parsed()
    curves = choose_curves(args)
    if args.load:
        results, said = loaded(args.load)
    else:
        peers = choose_peers(args.peers)
        rounds = args.rounds or (1 if args.quick else 3)
        seconds = args.seconds or (0.3 if args.quick else 0.8)
        point_s = args.point_limit or (5.0 if args.quick else float("inf"))
        said = about(peers)
        if not args.quiet:
            print(said, file=sys.stderr)
        results = run(curves, peers, Limits(rounds, seconds, point_s, args.limit * 60, args.quiet))
    curves = only_measured(curves, results)
    if args.save:
        Path(args.save).write_text(json.dumps(saved(results, said), indent=1))
    said = f"{said}; {in_turn(results)}"
    made = parts(curves, results, said)
    print(said)
    for curve in curves:
        print(f"\n{curve.title}: fastgear bench {curve.points[-1].words}\n\n{made[curve.name]}")
    for page in args.page:
        Path(page).write_text(replace_parts(Path(page).read_text(), made))
    if args.pictures:
        draw(curves, results, Path(args.pictures))


if __name__ == "__main__":
    main()
