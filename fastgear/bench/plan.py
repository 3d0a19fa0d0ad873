# SPDX-License-Identifier: MIT
"""What a load is to be: all that can be chosen, checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from fastgear.errors import ConfigError

__all__ = ["KINDS", "PRIORITIES", "REQUESTS", "Plan"]

KINDS = ("foreground", "background", "drain", "echo", "mixed")
REQUESTS = ("foreground", "background", "echo")  # in the order of the weights that a Load takes
PRIORITIES = ("high", "normal", "low")

_COUNT = 2_000_000_000
_SLOTS = 20_000_000
_RANGES = {
    "clients": (0, 60_000),
    "workers": (0, 60_000),
    "sleepers": (0, 60_000),
    "pipeline": (1, 1_000_000),
    "grabs": (1, 1_000_000),
    "payload": (0, 1 << 30),
    "result": (0, 1 << 30),
    "functions": (1, 1_000_000),
    "abilities": (1, 1_000_000),
    "count": (1, _COUNT),
}


def _even() -> dict[str, int]:
    return {"foreground": 1, "background": 1, "echo": 1}


def _normal() -> dict[str, int]:
    return {"normal": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A load. Raises ConfigError, naming the field, for a value that makes no sense.

    Without `rate` the loop is closed: each client sends the next request when one is answered. With it, so many requests a
    second are sent whatever the server does, and measured from when they were due. The load ends after `count` requests
    or `seconds`, whichever comes first.
    """

    kind: str = "foreground"
    clients: int = 8
    workers: int = 8
    sleepers: int = 0
    pipeline: int | None = None  # None: 1, or in an open loop 1000
    grabs: int = 1
    payload: int = 16
    result: int | None = None  # None: as payload
    functions: int = 1
    abilities: int | None = None  # None: all
    uniques: int | None = 0  # None: all different; else the size of the set, 0 for none
    priorities: Mapping[str, int] = field(default_factory=_normal)
    mix: Mapping[str, int] = field(default_factory=_even)
    count: int | None = None
    seconds: float | None = None
    rate: float | None = None
    warm_up: float = 0.5
    patience: float = 10.0
    keep: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind: {self.kind!r} is not one of {', '.join(KINDS)}")
        for one in fields(self):
            if one.name in _RANGES and getattr(self, one.name) is not None:
                _check_range(one.name, getattr(self, one.name), *_RANGES[one.name])
        _check_seconds("seconds", self.seconds, 0.001, 86_400)
        _check_seconds("warm-up", self.warm_up, 0, 3600)
        _check_seconds("patience", self.patience, 0.01, 86_400)
        _check_seconds("rate", self.rate, 0.001, 10_000_000)
        _check_weights("priorities", self.priorities, PRIORITIES)
        _check_weights("mix", self.mix, REQUESTS)
        self._check_together()

    def _check_together(self) -> None:
        if self.clients < 1:
            raise ConfigError("clients: at least 1 is needed")
        if self.uniques is not None and not 0 <= self.uniques <= _COUNT:
            raise ConfigError(f"uniques: {self.uniques} is out of range; it is none, all, or from 1 to {_COUNT:,}")
        if self.kind == "drain" and (self.uniques or self.rate):
            raise ConfigError("drain: jobs of a drain do not coalesce, and have no rate")
        if self.workers < 1 and (self.kind == "drain" or self.weights[0] > 0):
            raise ConfigError(f"workers: at least 1 is needed, or the jobs of a {self.kind} load would never end")
        if self.has_workers and self.workers * (self.abilities or self.functions) < self.functions:
            raise ConfigError(
                f"abilities: {self.workers} workers with {self.abilities} functions each leave some of the"
                f" {self.functions:,} functions without a worker"
            )
        if self.abilities is not None and self.abilities > self.functions:
            raise ConfigError(f"abilities: {self.abilities} of {self.functions} functions are not there")
        if self.clients * self.depth > _SLOTS:
            raise ConfigError(f"pipeline: {self.clients * self.depth:,} requests under way are more than {_SLOTS:,}")

    @property
    def weights(self) -> tuple[int, int, int]:
        """Of the kinds of REQUESTS."""
        if self.kind == "mixed":
            foreground, background, echo = (self.mix.get(name, 0) for name in REQUESTS)
            return foreground, background, echo
        return {"foreground": (1, 0, 0), "echo": (0, 0, 1)}.get(self.kind, (0, 1, 0))

    @property
    def has_workers(self) -> bool:
        """While the clients send."""
        return self.workers > 0 and self.kind not in ("echo", "drain")

    @property
    def depth(self) -> int:
        """Requests under way for each client."""
        return self.pipeline or (1000 if self.rate else 1)

    @property
    def result_size(self) -> int:
        return self.payload if self.result is None else self.result

    @property
    def most(self) -> int:
        """Requests, at most."""
        if self.rate:
            return min(self.count or _COUNT, max(1, int(self.rate * self.limit_s)))
        return self.count or (100_000 if self.kind == "drain" else _COUNT)

    @property
    def limit_s(self) -> float:
        """Seconds, at most."""
        return self.seconds or (60.0 if self.count or self.kind == "drain" else 5.0)


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name}: {value:,} is out of range; it is from {least:,} to {most:,}")


def _check_seconds(name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise ConfigError(f"{name}: {value:g} is out of range; it is from {least:g} to {most:g}")


def _check_weights(name: str, weights: Mapping[str, int], names: tuple[str, ...]) -> None:
    for one, weight in weights.items():
        if one not in names:
            raise ConfigError(f"{name}: {one!r} is not one of {', '.join(names)}")
        if not 0 <= weight <= 1_000_000:
            raise ConfigError(f"{name}: {one}={weight} is out of range; it is from 0 to 1,000,000")
    if not sum(weights.values()):
        raise ConfigError(f"{name}: all of them are 0")
