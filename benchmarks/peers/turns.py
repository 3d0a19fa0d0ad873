# SPDX-License-Identifier: MIT
"""Rounds in which things are measured by turns, while there is time, or until Ctrl-C; what there is then is shown and saved."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from peers.points import Stopped

__all__ = ["Turns", "add_options", "end", "take_turns"]

INTERRUPTED = 130  # as shells have it
Measured = TypeVar("Measured")


@dataclass
class Turns(Generic[Measured]):
    """By name, a figure for each round. An interrupted round leaves what it had."""

    results: dict[str, list[Measured]]
    interrupted: bool = False

    @property
    def said(self) -> str:
        most = max(map(len, self.results.values()), default=0)
        return f"{most} rounds in turn: median (least to most)" if most > 1 else "one round"


def add_options(parser: argparse.ArgumentParser, rounds: int = 3) -> None:
    """Those that all programs with rounds have."""
    add = parser.add_argument
    add("--rounds", type=int, help=f"default: {rounds}; quick: 1")
    add("--quick", action="store_true", help="one small round, to see that all of it works; its figures say little")
    add("--limit", type=float, default=30, metavar="MIN", help="begin no round that would pass it (default: 30)")
    add("--save", metavar="FILE.json", help="write all numbers to this file")
    add("--quiet", action="store_true", help="no lines of progress")


def take_turns(
    names: Sequence[str], args: argparse.Namespace, rounds: int, measure: Callable[[str], tuple[Measured, str]]
) -> Turns[Measured]:
    """`measure` gets each name in each round, and returns a figure and a line to show meanwhile."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of what ends the servers
    found: Turns[Measured] = Turns({name: [] for name in names})
    begun, longest_s = time.monotonic(), 0.0
    try:
        for number in range(1 if args.quick and not args.rounds else args.rounds or rounds):
            round_begun = time.monotonic()
            if number and round_begun - begun + longest_s > args.limit * 60:
                print(f"stopped after {number} rounds: one more would pass {args.limit:g} min", file=sys.stderr)
                break
            for name in names:
                line = take(name, measure, found.results[name])
                if not args.quiet:
                    print(f"[round {number + 1}] {name}: {line}", file=sys.stderr, flush=True)
            longest_s = max(longest_s, time.monotonic() - round_begun)
    except KeyboardInterrupt:
        print("\ninterrupted; this is what there is so far", file=sys.stderr)
        found.interrupted = True
    found.results = {name: figures for name, figures in found.results.items() if figures}
    return found


def take(name: str, measure: Callable[[str], tuple[Measured, str]], figures: list[Measured]) -> str:
    try:
        figure, line = measure(name)
    except Stopped as reason:
        return f"no figure; {reason}"
    figures.append(figure)
    return line


def end(args: argparse.Namespace, turns: Turns[Any], said: str, table: Callable[[], str], **more: object) -> None:
    """Print and save, and exit."""
    if turns.results:
        print(f"{said}; {turns.said}\n\n{table()}")
    elif not turns.interrupted:
        sys.exit("there is no figure at all; without --quiet the reasons are shown")
    if args.save:
        results = {name: [asdict(figure) for figure in figures] for name, figures in turns.results.items()}
        Path(args.save).write_text(json.dumps({"about": said, **more, "results": results}, indent=1))
    sys.exit(INTERRUPTED if turns.interrupted else 0)
