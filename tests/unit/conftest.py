# SPDX-License-Identifier: MIT
"""What unit tests share: the C structures, and allocations that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from fastgear.base.alloc import counting, fail_after


@pytest.fixture
def base(drivers: Callable[[str], ModuleType]) -> Any:
    """fastgear/base as Python objects: tests/ext/_base_driver.pyx."""
    return drivers("base")


@pytest.fixture
def failing() -> Iterator[Callable[[int], None]]:
    """failing(n): n more allocations succeed, the next one fails. Off again at the end."""
    if not counting:
        pytest.skip("only a build with FASTGEAR_DEBUG=1 can let allocations fail")
    yield fail_after
    fail_after(-1)
