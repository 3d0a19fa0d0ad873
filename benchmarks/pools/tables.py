# SPDX-License-Identifier: MIT
"""What is shown: medians with their spread, ratios beside what they are to be, and outcomes in words."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pools.cases import Facts
from pools.workloads import Row

__all__ = ["outcomes", "summary", "values"]

Rounds = dict[str, list[float]]


def ratios(rounds: Rounds, peer: str) -> list[float]:
    """fastgear's numbers over a peer's, round by round; the numbers themselves where no peer is named."""
    ours = rounds.get("fastgear", [])
    theirs = rounds.get(peer, []) if peer else [1.0] * len(ours)
    return [one / other for one, other in zip(ours, theirs, strict=False)]


def amount(value: float, digits: int) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 10_000:
        return f"{value / 1000:.0f} k"
    return f"{value:.{digits}f}"


def cell(values: list[float], digits: int) -> str:
    if not values:
        return ""
    middle, least, most = (amount(value, digits) for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


def verdict(row: Row, rounds: Rounds) -> str:
    said = []
    for how, peer, limit in row.targets:
        found = ratios(rounds, peer)
        if not found:
            continue
        middle, digits = statistics.median(found), row.digits or 2
        met = limit is None or (middle >= limit if how == ">=" else middle <= limit)
        spread = f" ({min(found):.{digits}f} to {max(found):.{digits}f})" if peer else ""
        said.append(f"{middle:.{digits}f}{spread} x {peer or 'ideal'}{'' if met else ', missed'}")
    return "; ".join(said)


def values(rows: Sequence[Row], peers: Sequence[str], results: dict[str, Rounds]) -> None:
    print(f"| what | unit | {' | '.join(peers)} | fastgear is | target |")
    print("|---" * (len(peers) + 4) + "|")
    for row in rows:
        rounds = results[row.title]
        cells = " | ".join(cell(rounds[peer], row.digits) for peer in peers)
        print(f"| {row.title} | {row.unit} | {cells} | {verdict(row, rounds)} | {row.text()} |")


def outcomes(peers: Sequence[str], cases: dict[str, dict[str, Facts]]) -> None:
    print(f"| what happens | {' | '.join(peers)} |")
    print("|---" * (len(peers) + 1) + "|")
    for title, by_peer in cases.items():
        print(f"| {title} | {' | '.join(by_peer[peer]['outcome'] for peer in peers)} |")


def summary(rows: Sequence[Row], results: dict[str, Rounds]) -> dict[str, dict[str, dict[str, float]]]:
    """For the file: by row and peer, the median, its spread, and the median of fastgear's ratios to it."""
    return {
        row.title: {
            peer: {
                "median": statistics.median(numbers), "least": min(numbers), "most": max(numbers),
                "fastgear is x": statistics.median(ratios(results[row.title], peer) or [0.0]),
            }
            for peer, numbers in results[row.title].items() if numbers
        }
        for row in rows
    }  # fmt: skip
