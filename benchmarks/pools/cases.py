# SPDX-License-Identifier: MIT
"""How pools behave when tasks do: cases, which say facts as they come, and the words that follow from those.

A case runs in a process of its own, which may hang, or end at any time; so what it says is complete at each moment. Which word
describes the facts is decided here, for all peers alike.
"""

from __future__ import annotations

import itertools
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pools.peers import Peer

__all__ = ["CASES", "Case", "Facts"]

Facts = dict[str, Any]
Say = Callable[..., None]

PATIENCE_S = 6.0  # for all that is submitted, and for a list that should be short
ITEMS, TAKEN = 10_000_000, 1000
PAUSE_S = 0.5  # after which nobody who reads as needed reads more
MOST_MEMORY = 2 << 30  # of private data, for those that keep all items
TASKS, DEADLY = 1000, 500


# -- single calls


class Odd(Exception):
    """It cannot be made again from its `args`."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{why} ({code})")
        self.code = code


class Scale:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def times(self, number: int) -> int:
        return self.factor * number


def raise_odd(number: int) -> None:
    raise Odd(number, "no luck")


def a_lock(_: int) -> Any:
    return threading.Lock()


def a_closure() -> Callable[[int], int]:
    factor = 3

    def times(number: int) -> int:
        return factor * number

    return times


def late() -> Callable[[int], int]:
    """A function that `__main__` has from now on."""
    main = vars(sys.modules["__main__"])
    exec("def thrice(number):\n    return 3 * number", main)
    return main["thrice"]  # type: ignore[no-any-return]


def call(make: Callable[[], Callable[[int], Any]]) -> Callable[[Peer, Say], None]:
    """`make` is called when the pool is up. A right function has 21 for 7; an exception of class Odd is right as well."""

    def run(peer: Peer, say: Say) -> None:
        try:
            say(right=peer.one(make(), 7) == 21)
        except Odd as error:
            say(right=error.code == 7)
        except BaseException as error:
            say(error=type(error).__name__, text=str(error)[-300:])
        say(usable=usable(lambda: peer.one(abs, -7)))

    return run


def usable(again: Callable[[], Any]) -> bool:
    try:
        return bool(again() == 7)
    except BaseException:
        return False


def word_of_call(facts: Facts) -> str:
    if "right" not in facts and "error" not in facts:
        return "hangs" if facts["hung"] else "ends the program"
    if "usable" not in facts:
        return f"{facts.get('error', 'works')}, then hangs" if facts["hung"] else "ends the program"
    if "error" in facts:
        return f"{'clear error' if facts['usable'] else 'breaks the pool'}: {facts['error']}"
    if not facts["right"]:
        return "wrong result"
    return "works" if facts["usable"] else "works, and breaks the pool"


# -- items that are read as they are needed


def lazily(peer: Peer, say: Say) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        while read < ITEMS:
            read += 1
            yield read

    def give_up(*_: Any) -> None:
        say(items=read)
        os._exit(0)

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    begun = time.perf_counter()
    try:
        results = peer.iterate(abs, items())
        taken = list(itertools.islice(results, TAKEN))
        seconds = time.perf_counter() - begun
        assert taken == list(range(1, TAKEN + 1))
        time.sleep(PAUSE_S)
        before = read
        time.sleep(PAUSE_S)
        say(items=read, reads_on=read > before, seconds=seconds)
    except Exception as error:
        say(items=read, error=type(error).__name__, text=str(error)[-300:])
    signal.setitimer(signal.ITIMER_REAL, 0)


def word_of_laziness(facts: Facts) -> str:
    if "items" not in facts:
        return "hangs" if facts["hung"] else "ends the program"
    read = f"{facts['items']:,} read"
    if "error" in facts:
        return f"{facts['error']}, {read}"
    if "seconds" not in facts:
        return f"nothing in {PATIENCE_S:g} s, {read}"
    return f"{'reads on' if facts['reads_on'] else 'works'}, {read}, {facts['seconds']:.2f} s"


# -- a worker that is killed


def fragile(number: int) -> int:
    time.sleep(0.001)
    if number == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def killed(peer: Peer, say: Say) -> None:
    """Counts what comes of a thousand tasks. A map, where there is nothing else, comes as a whole or not at all."""
    begun = time.perf_counter()
    counts = single(peer) if peer.has_futures else as_a_whole(peer)
    say(**counts, seconds=time.perf_counter() - begun)
    if peer.has_futures:
        say(usable=usable(lambda: peer.take(peer.submit(abs, -7), PATIENCE_S / 2)))
    else:
        say(usable=usable(lambda: peer.one(abs, -7)))


def single(peer: Peer) -> Facts:
    counts = {"delivered": 0, "failed": 0, "lost": 0}
    errors: set[str] = set()
    handles: list[Any] = []
    for number in range(TASKS):
        try:
            handles.append(peer.submit(fragile, number))
        except Exception as error:  # it is broken already
            counts["failed"] += 1
            errors.add(type(error).__name__)
    deadline = time.monotonic() + PATIENCE_S
    for number, handle in enumerate(handles):
        try:
            value = peer.take(handle, max(0.001, deadline - time.monotonic()))
            counts["delivered" if value == number else "wrong"] += 1
        except Exception as error:
            late = isinstance(error, TimeoutError) or type(error).__name__ == "TimeoutError"
            counts["lost" if late else "failed"] += 1
            errors |= set() if late else {type(error).__name__}
    return {**counts, "errors": sorted(errors)}


def as_a_whole(peer: Peer) -> Facts:
    try:
        delivered = len(peer.map(fragile, range(TASKS)))
        return {"delivered": delivered, "failed": TASKS - delivered, "lost": 0, "errors": []}
    except Exception as error:
        return {"delivered": 0, "failed": TASKS, "lost": 0, "errors": [type(error).__name__]}


def word_of_death(facts: Facts) -> str:
    if "delivered" not in facts:
        return "hangs" if facts["hung"] else "ends the program"
    delivered, failed, lost = facts["delivered"], facts["failed"], facts["lost"]
    if lost:
        word = f"hangs: {lost} of {TASKS} never come"
    elif failed == 1:
        word = "costs one task"
    else:
        word = "all lost" if not delivered else f"{failed} of {TASKS} lost"
    after = "goes on" if facts.get("usable") else "broken" if "usable" in facts else "then hangs"
    errors = "".join(f", {name}" for name in facts["errors"])
    return f"{word}{errors}, {facts['seconds']:.1f} s, {after}"


# -- the list


@dataclass(frozen=True)
class Case:
    """`run` has a peer that is up. `outcome` has the facts that were said, and whether it `hung`."""

    title: str
    run: Callable[[Peer, Say], None]
    word: Callable[[Facts], str] = word_of_call

    def outcome(self, facts: Facts) -> str:
        word = self.word(facts)
        if facts["hung"] and "usable" in facts:
            word += ", hangs at the end"
        if facts.get("left"):
            word += f", leaves {facts['left']} processes"
        return word


CASES = (
    Case("1000 results of a generator of 10 M, and a pause", lazily, word_of_laziness),
    Case("a worker killed among 1000 tasks", killed, word_of_death),
    Case("lambda", call(lambda: lambda number: 3 * number)),
    Case("closure", call(a_closure)),
    Case("function defined in __main__ later", call(late)),
    Case("bound method", call(lambda: Scale(3).times)),
    Case("result that cannot be pickled", call(lambda: a_lock)),
    Case("exception that cannot be made again", call(lambda: raise_odd)),
    Case("sys.exit in a task", call(lambda: sys.exit)),
)
