# SPDX-License-Identifier: MIT
"""What the pool tests let workers do, in a module that workers can import."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
import threading
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


def same(x: Any) -> Any:
    return x


def doubled(x: Any) -> Any:
    return x * 2


def spoil(x: Any) -> float:
    """Write over an array, and return what its first item was."""
    before = float(x[0])
    x[:] = -1.0
    return before


def sum_beside(table: Any, x: int) -> float:
    return float(table[x])


def wrapped_again(x: Any) -> tuple[str, pickle.PickleBuffer]:
    return type(x).__name__, pickle.PickleBuffer(x)


kept: list[Any] = []


def keep(x: Any) -> int:
    kept.append(x)
    return len(kept)


def sum_of_kept() -> float:
    return sum(float(x.sum()) for x in kept)


def write_no_large_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, 1 << 19))


def die_holding(x: Any) -> None:
    os.kill(os.getpid(), 9)


def fork_holding(x: Any) -> Any:
    """A child writes over the array and drops it; what the parent has must not change."""
    child = os.fork()
    if child == 0:
        x[:] = 7.0
        del x
        os._exit(0)
    os.waitpid(child, 0)
    return x


class Odd:
    """Does something odd when it is pickled or unpickled."""

    def __init__(self, *, pickled: Any = None, unpickled: Any = None) -> None:
        self.pickled, self.unpickled = pickled, unpickled or Odd

    def __reduce__(self) -> Any:
        if self.pickled is not None:
            self.pickled()
        return self.unpickled, ()


def crash() -> None:
    os._exit(5)


def leave() -> None:
    sys.exit(7)


def make_odd(words: dict[str, Any]) -> Odd:
    return Odd(**words)


class OnlyThere(Exception):
    """Can be rebuilt in the worker, and not here."""

    def __reduce__(self) -> Any:
        return only_in, (os.getpid(),)


def only_in(pid: int) -> Exception:
    if os.getpid() != pid:
        raise ValueError("not here")
    return OnlyThere("words")


def raise_only_there() -> None:
    raise OnlyThere("words")


def fork_and_leave() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def fork_and_return() -> int:
    """The child comes back from the task as well, and goes on as if it were the worker."""
    return os.fork()


def start_thread() -> str:
    threading.Thread(target=time.sleep, args=(0.05,)).start()
    return "started"


def close_standard() -> str:
    for fd in (0, 1, 2):
        os.close(fd)
    return "closed"


def close_everything() -> None:
    os.closerange(0, 1000)


def ignore_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class Counter:
    """With a state of its own."""

    def __init__(self, ballast: str = "") -> None:
        self.ballast = ballast
        self.count = 0

    def add(self, _: object = None) -> int:
        self.count += 1
        return self.count
