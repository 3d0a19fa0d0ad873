# SPDX-License-Identifier: MIT
"""One benchmark for each guard: `pytest benchmarks/guards` shows pytest-benchmark's tables.

Those are seconds, of this machine at this moment. What can be compared is the ratio, in `extra_info` of --benchmark-json;
`make bench` does that.
"""

from __future__ import annotations

from typing import Any

import pytest

from guards.catalogue import GUARDS
from guards.pairs import Guard, interleave


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_guard(guard: Guard, benchmark: Any) -> None:
    benchmark.group = guard.group
    with guard.pair() as pair:
        found = interleave(benchmark, pair, guard.rounds)
    benchmark.extra_info.update(beside=guard.beside, ratio=found.value, spread=found.spread)
