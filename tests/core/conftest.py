# SPDX-License-Identifier: MIT
"""A core to talk to in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from speak import Packet, packets, request

from fastgear.base.alloc import counting, fail_after


class Talk:
    """One connection to a core: `say` a request, and what comes back."""

    def __init__(self, core: Any) -> None:
        self.core = core
        self.id = core.connect()

    def send(self, *words: Any) -> None:
        self.core.receive(self.id, request(*words))

    def heard(self) -> list[Packet]:
        return packets(self.core.sent(self.id))

    def say(self, *words: Any) -> list[Packet]:
        self.send(*words)
        return self.heard()

    def text(self, line: bytes) -> bytes:
        self.core.receive(self.id, line)
        reply: bytes = self.core.sent(self.id)
        return reply

    def leave(self) -> None:
        self.core.disconnect(self.id)


@contextmanager
def memory_ends(after: int = 0) -> Iterator[None]:
    """So many more allocations succeed, and the next one fails."""
    assert counting, "this needs a build with FASTGEAR_DEBUG=1"
    fail_after(after)
    try:
        yield
    finally:
        fail_after(-1)


@pytest.fixture
def core(make_core: Callable[..., Any]) -> Any:
    return make_core()


@pytest.fixture
def talk(core: Any) -> Callable[[], Talk]:
    """talk() is a new connection to `core`."""
    return lambda: Talk(core)
