# SPDX-License-Identifier: MIT
"""Calls as somebody would write them, shortened: for errors and statistics."""

from __future__ import annotations

import functools
import reprlib
from typing import Any

__all__ = ["describe_call", "name_of"]

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60


def name_of(function: Any) -> str:
    """Of a partial, that of its function."""
    name = getattr(function, "__qualname__", None)
    if name is None and isinstance(function, functools.partial):
        return name_of(function.func)
    return name or type(function).__name__


def describe_call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The function's name and its arguments."""
    words = [_safe(argument) for argument in args] + [f"{key}={_safe(value)}" for key, value in kwargs.items()]
    return f"{name_of(function)}({', '.join(words)})"


def _safe(value: Any) -> str:
    try:
        return _repr.repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
