# SPDX-License-Identifier: MIT
"""Functions and arguments as bytes, for the way to a worker, and functions back again there.

What a module defines is pickled by its name. `__main__` is different: a forked worker has the `__main__` of the time of the
fork, and a fresh interpreter has none. So what `__main__` defines goes by name to workers that have the same, and by value to
others; there, functions get the worker's `__main__` as their globals, so that what an initializer sets is seen by all.
"""

from __future__ import annotations

import itertools
import sys
from collections import OrderedDict
from collections.abc import Callable
from pickle import PickleBuffer
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from fastgear.errors import TransferError
from fastgear.pool.transfer import Packed, Sent, Transfer, by_value, dumps

__all__ = ["Functions", "Packer", "at_home"]

_KEPT = 1024
_KEPT_LARGE = 16
_LARGE = 4096  # bytes of a function's pickle that does not travel in each frame
_MAIN = b"__main__"


class Packer:
    """The pool's side. `forked` is called with True when workers are forked from this process, now.

    Large functions have a number, by which a worker knows them again, and are in shared memory for those that do not.
    """

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._known: dict[Any, bytes | Packed] = {}
        self._inherited: dict[str, Any] | None = None  # what __main__ defined when workers were forked
        self._defined: dict[str, Any] = {}  # and what it defined when one of its functions was packed last
        self._numbers = itertools.count(1)
        self._last: tuple[bytes, Packed] | None = None  # the last large one, and its pickle

    def forked(self, forked: bool) -> None:
        self._inherited = _definitions() if forked else None

    def pack(self, function: Any) -> bytes | Packed:
        """A plain function only once, with what it refers to then, and again when something in `__main__` is defined anew; what
        has a state of its own, such as a closure, a partial or a bound method, each time. Raises TransferError for what even
        cloudpickle cannot pickle."""
        stateless = _is_stateless(function)
        if stateless and function.__module__ == "__main__":
            defined = _definitions()
            if defined != self._defined:
                self._defined = defined
                self._known.clear()
        known = self._known.get(function) if stateless else None
        if known is not None:
            return known
        try:
            packed = self._pack_function(function)
        except Exception as error:
            raise TransferError(f"the function {function!r} cannot be pickled: {error}") from error
        if stateless:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[function] = packed
        return packed

    def pack_arguments(self, value: Any) -> bytes | Packed:
        """Of a call, or of many. Raises whatever pickling raises, and TransferError for what is too large."""
        return self._transfer.pack_pickle(*self._dumps(value))

    def _pack_function(self, function: Any) -> bytes | Packed:
        data, buffers = self._dumps(function)
        if not buffers and len(data) < _LARGE:
            return data
        if self._last is not None and self._last[0] == data and self._transfer.has(self._last[1], buffers):
            return self._last[1]
        packed = self._transfer.pack_large(data, buffers, _LARGE)
        sent = packed.sent if type(packed.sent) is tuple else (packed.sent, [])
        packed.sent = (next(self._numbers), *sent)
        self._last = data, packed
        return packed

    def _dumps(self, value: Any) -> tuple[bytes, list[PickleBuffer]]:
        data, buffers = dumps(value)
        if _MAIN in data and self._inherited != _definitions():
            return by_value(value)
        return data, buffers


def _definitions() -> dict[str, Any]:
    main = sys.modules.get("__main__")
    return {name: value for name, value in vars(main).items() if isinstance(value, (FunctionType, type))}


def _is_stateless(function: Any) -> bool:
    kind = type(function)
    if kind is FunctionType:
        return function.__closure__ is None
    return kind is BuiltinFunctionType and isinstance(function.__self__, (ModuleType, type, type(None)))


class Functions:
    """The worker's side: each is unpickled once."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._by_bytes: dict[bytes, Callable[..., Any]] = {}
        self._large: OrderedDict[int, Callable[..., Any]] = OrderedDict()  # by number, the last ones used

    def unpack(self, sent: Sent) -> Callable[..., Any]:
        if isinstance(sent, tuple):
            return self._unpack_large(sent)
        function = self._by_bytes.get(sent)
        if function is None:
            function = self._bring(self._transfer.unpack(sent))
            if len(self._by_bytes) >= _KEPT:
                self._by_bytes.clear()
            self._by_bytes[sent] = function
        return function

    def _unpack_large(self, sent: tuple[Any, ...]) -> Callable[..., Any]:
        """All workers read the same memory; what a call writes to a function's buffers is its worker's own."""
        function = self._large.get(sent[0])
        if function is None:
            function = self._bring(self._transfer.unpack(sent, private=True))
            if len(self._large) >= _KEPT_LARGE:
                self._large.popitem(last=False)
            self._large[sent[0]] = function
        self._large.move_to_end(sent[0])
        return function

    def _bring(self, function: Any) -> Any:
        """Those that are here may refer to what it brings another definition of: they bring theirs when they come again."""
        function, has_replaced = _bring_home(function)
        if has_replaced:
            self._by_bytes.clear()
            self._large.clear()
        return function


def at_home(function: Any) -> Any:
    """A function of `__main__` that came by value, with this process's `__main__` as its globals.

    What it refers to and `__main__` does not have is put there, functions alike. Functions that `__main__` has under their own
    names give way to those that come, which may have been defined anew since.
    """
    return _bring_home(function)[0]


def _bring_home(function: Any) -> tuple[Any, bool]:
    """The function, and whether another has given way."""
    home = vars(sys.modules["__main__"])
    if type(function) is not FunctionType or function.__module__ != "__main__" or function.__globals__ is home:
        return function, False
    brought = function.__globals__
    has_replaced = False
    for name, value in list(brought.items()):
        if name not in home:
            home[name] = _moved(value, home) if _came_with(value, brought) else value
        elif _came_with(value, brought) and _gives_way(home[name], name, home, value):
            home[name] = _moved(value, home)
            has_replaced = True
    return _moved(function, home), has_replaced


def _gives_way(there: Any, name: str, home: dict[str, Any], value: FunctionType) -> bool:
    """Not what an initializer has put there under another name than its own."""
    if type(there) is not FunctionType or there.__globals__ is not home:
        return False
    return there.__qualname__ == value.__qualname__ == name and not _is_same(there, value)


def _is_same(one: FunctionType, other: FunctionType) -> bool:
    try:
        return bool(
            one.__code__ == other.__code__
            and (one.__defaults__, one.__kwdefaults__) == (other.__defaults__, other.__kwdefaults__)
            and one.__closure__ is other.__closure__ is None
        )
    except Exception:  # arrays cannot be compared so
        return False


def _came_with(value: Any, brought: dict[str, Any]) -> bool:
    return type(value) is FunctionType and value.__globals__ is brought


def _moved(function: FunctionType, home: dict[str, Any]) -> FunctionType:
    moved = FunctionType(function.__code__, home, function.__name__, function.__defaults__, function.__closure__)
    moved.__kwdefaults__ = function.__kwdefaults__
    moved.__dict__.update(function.__dict__)
    moved.__qualname__, moved.__module__, moved.__doc__ = function.__qualname__, function.__module__, function.__doc__
    return moved
