# SPDX-License-Identifier: MIT
"""What is made of rounds: the ratio within each, the median of those, whether that is met, and a table. Knows of no program.

fastgear and what stands beside it have run next to each other in a round, on a machine that others use too; so what counts is
fastgear's figure over the other one of the same round.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from peers.tables import amount, table

__all__ = [
    "Aim",
    "Found",
    "abouts",
    "from_saved",
    "merged",
    "ratios",
    "spread",
    "summary",
    "targets_table",
    "to_save",
    "verdict",
]

HOW = {"<=": "at most", ">=": "at least"}


class Aim(Protocol):
    """Of a row, what is needed here. The limit is for fastgear's figure over the other one, or for itself."""

    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def beside(self) -> str: ...
    @property
    def how(self) -> str: ...
    @property
    def limit(self) -> float: ...
    @property
    def is_ratio(self) -> bool: ...
    @property
    def command(self) -> str: ...


@dataclass
class Found:
    """Of one row: of each round fastgear's figure and the other one; why some may be missing; where and when that was."""

    pairs: list[tuple[float, float | None]] = field(default_factory=list)
    missing: str = ""
    about: str = ""


def ratios(aim: Aim, found: Found) -> list[float]:
    """Of each round what the limit is for."""
    if not aim.is_ratio:
        return [ours for ours, _ in found.pairs]
    return [ours / theirs for ours, theirs in found.pairs if theirs]


def verdict(aim: Aim, found: Found) -> str:
    values = ratios(aim, found)
    if not values:
        return f"no figure: {found.missing or 'not measured'}"
    middle = statistics.median(values)
    return "met" if (middle <= aim.limit if aim.how == "<=" else middle >= aim.limit) else "not met"


# -- a file


def to_save(kept: Mapping[str, Found]) -> dict[str, Any]:
    return {"rows": {title: asdict(found) for title, found in kept.items()}}


def from_saved(saved: Mapping[str, Any]) -> dict[str, Found]:
    return {
        title: Found([(ours, theirs) for ours, theirs in one["pairs"]], one["missing"], one["about"])
        for title, one in saved["rows"].items()
    }


def merged(runs: Sequence[Mapping[str, Found]]) -> dict[str, Found]:
    """A later run's rows are taken, unless it has no figure where an earlier one has."""
    rows: dict[str, Found] = {}
    for run in runs:
        for title, found in run.items():
            if found.pairs or title not in rows or not rows[title].pairs:
                rows[title] = found
    return rows


# -- words


def spread(values: Sequence[float], after: str = "") -> str:
    middle = f"{amount(statistics.median(values))}{after}"
    return middle if len(values) == 1 else f"{middle} ({amount(min(values))} to {amount(max(values))})"


def with_unit(values: Sequence[float], unit: str) -> str:
    return f"{amount(statistics.median(values))} {unit}"


def cells(aim: Aim, found: Found) -> list[str]:
    ours = [one for one, _ in found.pairs]
    theirs = [other for _, other in found.pairs if other is not None]
    values = ratios(aim, found)
    beside = with_unit(theirs, aim.unit) if theirs else found.missing
    target = f"{HOW[aim.how]} {aim.limit:,.10g} {f'x {aim.beside}' if aim.is_ratio else aim.unit}"
    return [
        aim.title,
        with_unit(ours, aim.unit) if ours else "",
        beside if aim.beside in beside else f"{aim.beside}: {beside}".removesuffix(": "),
        target,
        spread(values, " x" if aim.is_ratio else "") if values else "",
        str(len(values)),
        verdict(aim, found),
        f"`{aim.command}`",
    ]


HEAD = (
    "what", "fastgear", "beside it", "target", "median of the rounds (least to most)", "rounds", "", "measured by",
)  # fmt: skip


def targets_table(aims: Sequence[Aim], kept: Mapping[str, Found]) -> str:
    """A line for each aim, measured or not."""
    return table(HEAD, (cells(aim, kept.get(aim.title, Found())) for aim in aims))


def summary(aims: Sequence[Aim], kept: Mapping[str, Found]) -> str:
    words = [verdict(aim, kept.get(aim.title, Found())) for aim in aims]
    met, missed = words.count("met"), words.count("not met")
    return f"Of {len(words)} numbers {met} are met, {missed} are not, and {len(words) - met - missed} have no figure."


def abouts(kept: Mapping[str, Found]) -> Iterator[str]:
    """Each run once."""
    return iter(dict.fromkeys(found.about for found in kept.values() if found.about))
