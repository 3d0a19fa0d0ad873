# SPDX-License-Identifier: MIT
"""Connecting to a server beside other work: a name that is looked up, or a server that is silent, may take seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fastgear.addresses import Address
from fastgear.stream import Stream, connect

__all__ = ["Attempt"]


class Attempt:
    """One attempt, on a thread of its own, which calls `wake` when there is an outcome to take."""

    def __init__(self, address: Address, timeout: float, wake: Callable[[], None]) -> None:
        self._address = address
        self._timeout = timeout
        self._wake = wake
        self._lock = threading.Lock()
        self._outcome: Stream | BaseException | None = None
        self._abandoned = False
        try:
            threading.Thread(target=self._run, name="fastgear-connecting", daemon=True).start()
        except RuntimeError:  # there may be no more threads
            self._run()

    def _run(self) -> None:
        outcome: Stream | BaseException
        try:
            outcome = connect(self._address, self._timeout)
        except BaseException as error:
            outcome = error
        with self._lock:
            self._outcome = outcome
            if self._abandoned and isinstance(outcome, Stream):
                outcome.close()
        self._wake()

    def take(self) -> Stream | None:
        """The connection, or None while it is under way. Raises ConnectionLost."""
        outcome = self._outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def abandon(self) -> None:
        """Nobody is going to take it."""
        with self._lock:
            self._abandoned = True
            if isinstance(self._outcome, Stream):
                self._outcome.close()
