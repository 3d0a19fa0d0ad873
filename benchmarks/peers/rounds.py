# SPDX-License-Identifier: MIT
"""All points of all curves, in rounds in which the servers take turns; a line of progress for each."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from peers.axes import Curve, Point
from peers.points import Measured, Stopped, measure
from peers.servers import Peer

__all__ = ["Limits", "Results", "run"]

GUESS_S = 2.2  # for a point, before anything is known
ONCE_S = 20.0  # points that take longer are measured in the first round only


@dataclass(frozen=True)
class Limits:
    rounds: int
    seconds: float  # of measuring, where a point does not say how many jobs
    point_s: float
    total_s: float
    quiet: bool = False


@dataclass
class Results:
    """By curve, point and server: figures of the rounds, or why there are none."""

    rounds: dict[str, dict[str, dict[str, list[Measured]]]] = field(default_factory=dict)
    stopped: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)


class Progress:
    """What is done, and how long the rest will take: for each point as long as others did, or may do again."""

    def __init__(self, per_round: int, rounds: int, quiet: bool) -> None:
        self._quiet = quiet
        self._begun = time.monotonic()
        self._per_round, self._total = per_round, per_round * rounds
        self._done = 0
        self.next_round_s = 0.0  # what has been measured so far, and is to be measured again

    def add(self, took_s: float, again: bool) -> None:
        self._done += 1
        if self._done <= self._per_round and again:
            self.next_round_s += took_s

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._begun

    @property
    def left_s(self) -> float:
        seen = min(self._done, self._per_round)
        return (self.next_round_s / seen if seen else GUESS_S) * (self._total - self._done)

    def say(self, what: str) -> None:
        left = f"about {self.left_s / 60:.0f} min left" if self._done < self._total else "done"
        if not self._quiet:
            print(f"[{self._done}/{self._total}] {what}; {left}", file=sys.stderr, flush=True)


def run(curves: Sequence[Curve], peers: Sequence[Peer], limits: Limits) -> Results:
    """A round that would pass the limit of time is not begun."""
    results = Results(
        {curve.name: {point.label: {peer.name: [] for peer in peers} for point in curve.points} for curve in curves},
        {curve.name: {point.label: {} for point in curve.points} for curve in curves},
    )
    progress = Progress(sum(len(curve.points) for curve in curves) * len(peers), limits.rounds, limits.quiet)
    with tempfile.TemporaryDirectory(prefix="fastgear-compare-") as name:
        for number in range(limits.rounds):
            if number and progress.elapsed_s + progress.next_round_s > limits.total_s:
                print(
                    f"stopped after {number} rounds: one more would pass {limits.total_s / 60:.0f} min", file=sys.stderr
                )
                break
            for curve in curves:
                for point in curve.points:
                    for peer in peers:
                        if is_due(results, curve, point, peer, number == 0):
                            take(results, curve, point, peer, limits, Path(name), progress)
                        else:
                            progress.add(0.0, False)
    return results


def is_due(results: Results, curve: Curve, point: Point, peer: Peer, first: bool) -> bool:
    """A server that was stopped on a curve does not go on to larger values; what takes long is measured once."""
    if first:
        return not curve.pictured or all(peer.name not in reasons for reasons in results.stopped[curve.name].values())
    found = results.rounds[curve.name][point.label][peer.name]
    return bool(found) and found[0].took_s <= ONCE_S


def take(
    results: Results, curve: Curve, point: Point, peer: Peer, limits: Limits, folder: Path, progress: Progress
) -> None:
    found, begun = results.rounds[curve.name][point.label][peer.name], time.monotonic()
    try:
        found.append(measure(peer, point, limits.seconds, limits.point_s, folder))
        said, again = (
            f"{found[-1].cpu_us:,.2f} µs a job, {found[-1].jobs_per_s:,.0f} jobs/s",
            found[-1].took_s <= ONCE_S,
        )
    except Stopped as reason:
        if not found:  # else there is a figure
            results.stopped[curve.name][point.label][peer.name] = str(reason)
        said, again = str(reason), False
    progress.add(time.monotonic() - begun, again)
    progress.say(f"{curve.name}: {point.label}, {peer.name}: {said}")
