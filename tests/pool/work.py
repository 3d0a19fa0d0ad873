# SPDX-License-Identifier: MIT
"""What the pool tests let workers do, in a module that workers can import."""

from __future__ import annotations

import os
import time
from typing import Any


def square(x: int) -> int:
    return x * x


def slow_pid() -> int:
    time.sleep(0.02)
    return os.getpid()


class Stubborn(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_stubborn() -> None:
    raise Stubborn(1, 2)


class Unreadable:
    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise ValueError("not here")


def die_at(x: int, deadly: int, number: int) -> int:
    if x == deadly:
        os.kill(os.getpid(), number)
    return x
