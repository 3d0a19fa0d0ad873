# SPDX-License-Identifier: MIT
"""The figures as Markdown: medians with their spread, and how they grow."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence

from peers.axes import Curve, Point
from peers.points import Measured
from peers.rounds import Results

__all__ = ["amount", "curve_table", "loads_table", "memory_table", "replace_parts", "spread", "summary_table", "table"]

Figure = Callable[[Measured], float]


def cpu_us(one: Measured) -> float:
    return one.cpu_us


def jobs_per_s(one: Measured) -> float:
    return one.jobs_per_s


def p50_us(one: Measured) -> float:
    return one.p50_us


def load_share(one: Measured) -> float:
    return one.load_share


def bytes_per_job(one: Measured) -> float:
    return one.bytes_per_job


def percent_given_back(one: Measured) -> float:
    return 100 * one.given_back


def amount(value: float) -> str:
    """With three digits."""
    for size, unit in ((1e6, " M"), (1e4, " k")):
        if value >= size:
            value /= 1e6 if unit == " M" else 1e3
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}{unit}"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def spread(values: list[float], digits: int) -> str:
    if len(values) == 1:
        return f"{values[0]:,.{digits}f}"
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Figures:
    """Of one curve."""

    def __init__(self, curve: Curve, results: Results) -> None:
        self.curve = curve
        self._rounds, self._stopped = results.rounds[curve.name], results.stopped[curve.name]

    @property
    def peers(self) -> list[str]:
        return list(next(iter(self._rounds.values())))

    def median(self, point: Point, peer: str, figure: Figure) -> float | None:
        found = [figure(one) for one in self._rounds[point.label][peer]]
        return statistics.median(found) if found else None

    def cell(self, point: Point, peer: str, figure: Figure) -> str:
        found = [figure(one) for one in self._rounds[point.label][peer]]
        if not found:
            return self._stopped[point.label].get(peer, "")
        middle = amount(statistics.median(found))
        return middle if len(found) == 1 else f"{middle} ({amount(min(found))} to {amount(max(found))})"

    def ratio(self, point: Point, peer: str, figure: Figure) -> str:
        """fastgear's over a peer's, of rounds that took turns."""
        ours, theirs = self._rounds[point.label].get("fastgear", []), self._rounds[point.label][peer]
        found = [figure(one) / figure(other) for one, other in zip(ours, theirs, strict=False) if figure(other)]
        return f"{statistics.median(found):.2f} x" if found else ""

    def growth(self, peer: str) -> str:
        """From the base to the last point that it got to."""
        points = {point.value: self.median(point, peer, cpu_us) for point in self.curve.points}
        base = points.get(self.curve.base) if self.curve.base is not None else None
        last = max((value for value, median in points.items() if median is not None), default=None)
        if not base or last is None or self.curve.base is None or last <= self.curve.base:
            return ""
        return f"{(points[last] or 0) / base:.2f} x"

    def end(self, peer: str) -> str:
        """Why it got no farther."""
        for point in self.curve.points:
            if peer in self._stopped[point.label]:
                return f"{point.label}: {self._stopped[point.label][peer]}"
        return ""


def loads_table(curve: Curve, results: Results) -> str:
    """A row for each load and server."""
    figures = Figures(curve, results)

    def rows() -> Iterator[Sequence[str]]:
        for point in curve.points:
            for peer in figures.peers:
                cells = [figures.cell(point, peer, figure) for figure in (jobs_per_s, cpu_us, p50_us)]
                share = figures.median(point, peer, load_share)
                ratios = [figures.ratio(point, peer, figure) for figure in (jobs_per_s, cpu_us)]
                yield [point.label, peer, *cells, f"{share:.0%}" if share is not None else "", *ratios]

    head = [
        curve.axis,
        "server",
        "jobs/s",
        "server CPU, µs a job",
        "p50, µs",
        "the load's CPU",
        "fastgear's jobs/s",
        "its CPU",
    ]
    return table(head, rows())


def memory_table(curve: Curve, results: Results) -> str:
    """A row for each depth and server."""
    figures = Figures(curve, results)

    def rows() -> Iterator[Sequence[str]]:
        for point in curve.points:
            for peer in figures.peers:
                cells = [
                    figures.cell(point, peer, figure) for figure in (bytes_per_job, percent_given_back, jobs_per_s)
                ]
                yield [point.label, peer, *cells]

    return table([curve.axis, "server", "bytes for each", "given back when empty, %", "jobs/s"], rows())


def curve_table(curve: Curve, results: Results) -> str:
    """CPU a job of every server at every point, then jobs/s."""
    figures = Figures(curve, results)

    def rows(figure: Figure) -> Iterator[Sequence[str]]:
        for point in curve.points:
            yield [point.label, *(figures.cell(point, peer, figure) for peer in figures.peers)]
        if figure is cpu_us and curve.base is not None:
            base = next((point.label for point in curve.points if point.value == curve.base), str(curve.base))
            yield [f"last over {base}", *(figures.growth(peer) for peer in figures.peers)]

    parts = [
        table([f"{curve.axis}; {what}", *figures.peers], rows(figure))
        for what, figure in (("server CPU, µs a job", cpu_us), ("jobs/s", jobs_per_s))
    ]
    return "\n\n".join(parts)


def summary_table(curves: Sequence[Curve], results: Results) -> str:
    """The first and the last point of each curve: what a job costs there, and by what it has grown."""

    def cell(figures: Figures, peer: str) -> str:
        found = [
            (point, figures.median(point, peer, cpu_us))
            for point in figures.curve.points
            if figures.curve.base is None or point.value >= figures.curve.base
        ]
        reached = [(point, median) for point, median in found if median is not None]
        if not reached:
            return figures.end(peer)
        (first, least), (last, most) = reached[0], reached[-1]
        said = amount(least) if first is last else f"{amount(least)} to {amount(most)}"
        return said if last is found[-1][0] else f"{said} at {last.label}; {figures.end(peer)}"

    def rows() -> Iterator[Sequence[str]]:
        for curve in curves:
            figures = Figures(curve, results)
            points = [point for point in curve.points if curve.base is None or point.value >= curve.base]
            if points:
                what = f"{curve.axis}: {points[0].label} to {points[-1].label}"
                yield [what, *(cell(figures, peer) for peer in figures.peers)]

    return table(["server CPU, µs a job, over", *Figures(curves[0], results).peers], rows())


def replace_parts(text: str, parts: dict[str, str]) -> str:
    """What is between `<!-- NAME -->` and `<!-- end -->` of a page."""
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        if found:
            text = f"{before}{begin}{part}\n{end}{rest.partition(end)[2]}"
    return text
