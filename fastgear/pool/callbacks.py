# SPDX-License-Identifier: MIT
"""A thread for what users attach to futures.

Callbacks are run one after the other, as in concurrent.futures; but neither by the thread that receives, which a slow one
would hold up, nor by one that waits for a result, which may hold a lock that the callback needs.
"""

from __future__ import annotations

import logging
import queue
import threading
from concurrent.futures import Future
from typing import Any

__all__ = ["Callbacks"]

log = logging.getLogger(__name__)


class Callbacks:
    """The thread is there from the first future on."""

    def __init__(self) -> None:
        self._futures: queue.SimpleQueue[Future[Any] | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def run(self, future: Future[Any]) -> None:
        """All that are attached to this one, which is done."""
        self._futures.put(future)
        if self.thread is None:
            with self._lock:
                self._start()

    def _start(self) -> None:
        if self.thread is None:
            thread = threading.Thread(target=self._work, name="fastgear-pool-callbacks", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending, and starts none
                self._futures.put(None)
                self._work()
            else:
                self.thread = thread

    def _work(self) -> None:
        while (future := self._futures.get()) is not None:
            try:
                future._invoke_callbacks()  # type: ignore[attr-defined]
            except BaseException:  # which concurrent.futures lets pass
                log.exception("a future's callback raised")
            del future  # or it would stay until the next one comes

    def close(self) -> None:
        """Wait for those that are there, unless this is one of them."""
        if self.thread is not None:
            self._futures.put(None)
            if self.thread is not threading.current_thread():
                self.thread.join()
