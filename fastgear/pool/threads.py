# SPDX-License-Identifier: MIT
"""How many threads the numerical libraries in a worker may use, so that workers times threads are not more than CPUs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["begin_numerical_worker"]


def begin_numerical_worker(
    limits: dict[str, str], threads: int, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]
) -> None:
    """The initializer of workers for numerical tasks; it imports nothing, so that libraries find `limits` in their environment.

    Those that a fork has brought along are told otherwise, and numpy gets random numbers of its own.
    """
    os.environ.update(limits)
    if "threadpoolctl" in sys.modules:
        sys.modules["threadpoolctl"].threadpool_limits(threads)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if initializer is not None:
        initializer(*initargs)
