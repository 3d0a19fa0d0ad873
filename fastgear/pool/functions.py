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
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from fastgear.errors import TransferError
from fastgear.pool.transfer import Packed, Sent, Transfer, by_value, dumps

__all__ = ["Functions", "Packer", "at_home", "is_stateless"]

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
        self._known: dict[Any, _Known] = {}
        self._inherited: dict[str, Any] | None = None  # what __main__ defined when workers were forked
        self._numbers = itertools.count(1)
        self._last: tuple[bytes, Packed] | None = None  # the last large one, and its pickle

    def forked(self, forked: bool) -> None:
        self._inherited = _definitions() if forked else None

    def pack(self, function: Any) -> bytes | Packed:
        """A plain function only once, with what it refers to then, and again when something of that is defined anew; what
        has a state of its own, such as a closure, a partial or a bound method, each time. Raises TransferError for what even
        cloudpickle cannot pickle."""
        if not is_stateless(function):
            return self._pack(function)
        known = self._known.get(function)
        if known is None or not known.is_current():
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = self._known[function] = _Known(self._pack(function), function)
        return known.packed

    def _pack(self, function: Any) -> bytes | Packed:
        try:
            return self._pack_function(function)
        except Exception as error:
            raise TransferError(f"the function {function!r} cannot be pickled: {error}") from error

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
    return {name: value for name, value in list(vars(main).items()) if isinstance(value, (FunctionType, type))}


class _Known:
    """A function's pickle, and what the definitions were that it refers to, if they can have changed: those of `__main__`."""

    __slots__ = ("packed", "referred")

    def __init__(self, packed: bytes | Packed, function: Any) -> None:
        self.packed = packed
        self.referred = tuple(_referred(function).items()) if function.__module__ == "__main__" else ()

    def is_current(self) -> bool:
        return all(_definition(name) is definition for name, definition in self.referred)


def _definition(name: str) -> Any:
    """What `__main__` defines by this name; None where that is no function and no class."""
    value = vars(sys.modules["__main__"]).get(name)
    return value if isinstance(value, (FunctionType, type)) else None


def _referred(function: FunctionType) -> dict[str, Any]:
    """The definitions that a call of it may come to, by their names."""
    found: dict[str, Any] = {}
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        for name in code.co_names:
            if name not in found:
                found[name] = _definition(name)
                codes += _codes(found[name])
    return found


def _codes(definition: Any) -> list[CodeType]:
    """Of a function, or of a class's methods, where `__main__` has defined it."""
    if getattr(definition, "__module__", None) != "__main__":
        return []
    parts = vars(definition).values() if isinstance(definition, type) else (definition,)
    functions = [getattr(part, "__func__", getattr(part, "fget", part)) for part in parts]
    return [function.__code__ for function in functions if type(function) is FunctionType]


def is_stateless(function: Any) -> bool:
    """Whether calls of one copy of it cannot tell each other anything, but by what all copies share."""
    kind = type(function)
    if kind is FunctionType:
        return function.__closure__ is None
    return kind is BuiltinFunctionType and isinstance(function.__self__, (ModuleType, type, type(None)))


class Functions:
    """The worker's side: each is unpickled once, for a map; what has a state of its own, such as a bound method, once for each
    call that was submitted by itself, since those are to know nothing of each other."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._by_bytes: dict[bytes, Callable[..., Any]] = {}
        self._large: OrderedDict[int, Callable[..., Any]] = OrderedDict()  # by number, the last ones used

    def unpack(self, sent: Sent) -> Callable[..., Any]:
        known = self._find(sent)
        return self._make(sent) if known is None else known

    def unpack_for_call(self, sent: Sent) -> Callable[..., Any]:
        known = self._find(sent)
        return known if known is not None and is_stateless(known) else self._make(sent)

    def _find(self, sent: Sent) -> Callable[..., Any] | None:
        if not isinstance(sent, tuple):
            return self._by_bytes.get(sent)
        function = self._large.get(sent[0])
        if function is not None:
            self._large.move_to_end(sent[0])
        return function

    def _make(self, sent: Sent) -> Callable[..., Any]:
        """All workers read the same memory; what a call writes to a large function's buffers is its worker's own."""
        function: Callable[..., Any] = self._bring(self._transfer.unpack(sent, private=isinstance(sent, tuple)))
        if isinstance(sent, tuple):
            self._large[sent[0]] = function
            if len(self._large) > _KEPT_LARGE:
                self._large.popitem(last=False)
        else:
            if len(self._by_bytes) >= _KEPT:
                self._by_bytes.clear()
            self._by_bytes[sent] = function
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

    What it refers to and `__main__` does not have is put there. Functions and classes that `__main__` has under their own names
    give way to those that come, which may have been defined anew since.
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
            home[name] = _brought_home(value, brought, home)
        elif _gives_way(home[name], name, value):
            home[name] = _brought_home(value, brought, home)
            has_replaced = True
    return _moved(function, home), has_replaced


def _gives_way(there: Any, name: str, value: Any) -> bool:
    """Not what an initializer has put there under another name than its own."""
    if not isinstance(value, (FunctionType, type)) or not isinstance(there, type(value)) or there is value:
        return False
    if not there.__module__ == value.__module__ == "__main__" or not there.__qualname__ == value.__qualname__ == name:
        return False
    return isinstance(value, type) or not _is_same(there, value)  # type: ignore[arg-type]


def _is_same(one: FunctionType, other: FunctionType) -> bool:
    try:
        return bool(
            one.__code__ == other.__code__
            and (one.__defaults__, one.__kwdefaults__) == (other.__defaults__, other.__kwdefaults__)
            and one.__closure__ is other.__closure__ is None
        )
    except Exception:  # arrays cannot be compared so
        return False


def _brought_home(value: Any, brought: dict[str, Any], home: dict[str, Any]) -> Any:
    """What came with a function: functions and the methods of classes get the same globals."""
    if type(value) is FunctionType and value.__globals__ is brought:
        return _moved(value, home)
    if isinstance(value, type) and value.__module__ == "__main__":
        for name, part in list(vars(value).items()):
            if type(part) is FunctionType and part.__globals__ is brought:
                setattr(value, name, _moved(part, home))
            elif isinstance(part, (classmethod, staticmethod)) and type(part.__func__) is FunctionType:
                setattr(value, name, type(part)(_moved(part.__func__, home)))
    return value


def _moved(function: FunctionType, home: dict[str, Any]) -> FunctionType:
    moved = FunctionType(function.__code__, home, function.__name__, function.__defaults__, function.__closure__)
    moved.__kwdefaults__ = function.__kwdefaults__
    moved.__dict__.update(function.__dict__)
    moved.__qualname__, moved.__module__, moved.__doc__ = function.__qualname__, function.__module__, function.__doc__
    return moved
