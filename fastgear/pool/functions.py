# SPDX-License-Identifier: MIT
"""Functions as bytes, for the way to a worker, and back again there."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any

from fastgear.errors import TransferError
from fastgear.pool.outcome import dumps_for_worker

__all__ = ["Functions", "Packer"]

_KEPT = 1024


class Packer:
    """Pickles functions, and each plain function only once: by its name, or, from `__main__`, with what it refers to then.

    What has a state of its own, such as a closure, a partial or a bound method, is pickled each time.
    """

    def __init__(self) -> None:
        self._known: dict[FunctionType | BuiltinFunctionType, bytes] = {}

    def pack(self, function: Any) -> bytes:
        """Raises TransferError for what even cloudpickle cannot pickle."""
        stateless = _is_stateless(function)
        known = self._known.get(function) if stateless else None
        if known is not None:
            return known
        try:
            data = dumps_for_worker(function)
        except Exception as error:
            raise TransferError(f"the function {function!r} cannot be pickled: {error}") from error
        if stateless:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[function] = data
        return data


def _is_stateless(function: Any) -> bool:
    kind = type(function)
    if kind is FunctionType:
        return function.__closure__ is None
    return kind is BuiltinFunctionType and not hasattr(function.__self__, "__dict__")


class Functions:
    """The worker's side: each is unpickled once."""

    def __init__(self) -> None:
        self._by_bytes: dict[bytes, Callable[..., Any]] = {}

    def unpack(self, data: bytes) -> Callable[..., Any]:
        function = self._by_bytes.get(data)
        if function is None:
            function = pickle.loads(data)
            if len(self._by_bytes) >= _KEPT:
                self._by_bytes.clear()
            self._by_bytes[data] = function
        return function
