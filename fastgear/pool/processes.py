# SPDX-License-Identifier: MIT
"""The pool's worker processes, and what their supervisor says of them.

It is heard by a thread of its own, since its word may come while nothing else does.
"""

from __future__ import annotations

import select
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from fastgear.errors import CannotStart
from fastgear.supervisor.board import WorkerInfo
from fastgear.supervisor.events import Died, Event, Ready, Reason, StartFailed
from fastgear.supervisor.launch import Workers

__all__ = ["Processes"]

_EXPLAIN_S = 2.0  # how long the news of a worker's end may take
_TIDY_S = 5.0  # from one `on_tidy` to the next
_REMEMBERED = 1000  # deaths
_UNWANTED = (Reason.CRASHED, Reason.OUT_OF_MEMORY, Reason.TIME_LIMIT)  # ends of workers that nobody asked for


class Processes:
    """Its callables are called in the thread that listens: `on_death` with a pid, `on_tidy` every few seconds, and
    `on_end` with an error when nothing is left of them. What is noted is noted under the lock of `told`, which is then told.
    """

    def __init__(
        self,
        workers: Workers,
        told: threading.Condition,
        *,
        on_death: Callable[[int], None],
        on_tidy: Callable[[], None],
        on_end: Callable[[BaseException], None],
    ) -> None:
        self.start_method = workers.start
        self.ready_total = 0  # how many have been
        self.died_total = 0  # that were not to
        self._workers = workers
        self._lock = threading.Lock()  # for what is said to the supervisor, and heard of it
        self._told = told
        self._on_death, self._on_tidy, self._on_end = on_death, on_tidy, on_end
        self._deaths: OrderedDict[int, Died] = OrderedDict()
        self._start_failed: StartFailed | None = None
        self.listener = threading.Thread(target=self._listen, name="fastgear-pool-watcher", daemon=True)

    # -- what is said

    def end(self, *, kill: bool) -> None:
        """At once, or as soon as they have finished what they have in hand. Returns without waiting."""
        with self._lock:
            if kill:
                self._workers.stop()
            else:
                self._workers.drain()

    def close(self) -> None:
        """Kill what is left, and wait for that."""
        with self._lock:
            self._workers.close()
        self.join(None)

    def join(self, timeout: float | None) -> None:
        """Wait until all are gone and that was heard, unless this is called by what hears it."""
        if self.listener.ident is not None and self.listener is not threading.current_thread():
            self.listener.join(timeout)

    def infos(self) -> tuple[WorkerInfo, ...]:
        """Of those that are ready."""
        with self._lock:
            return tuple(info for info in self._workers.workers() if info.ready)

    # -- what is heard

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._workers, select.POLLIN)
        running = True
        tidied_at = time.monotonic()
        while running:
            poll.poll(_TIDY_S * 1000)
            if time.monotonic() >= tidied_at + _TIDY_S:
                tidied_at = time.monotonic()
                self._on_tidy()
            with self._lock:
                events = self._workers.receive()
                running = self._workers.running
            for event in events:
                self._note(event)
        self._on_end(self._explain_end())

    def _note(self, event: Event) -> None:
        with self._told:
            if isinstance(event, Died):
                self._deaths[event.pid] = event
                self.died_total += event.reason in _UNWANTED
                if len(self._deaths) > _REMEMBERED:
                    self._deaths.popitem(last=False)
                self._on_death(event.pid)
            elif isinstance(event, StartFailed):
                self._start_failed = event
            elif isinstance(event, Ready):
                self.ready_total += 1
            self._told.notify_all()

    def _explain_end(self) -> BaseException:
        if self._start_failed is not None:
            text = self._start_failed.text
            return CannotStart(f"the pool's workers cannot start: {text.splitlines()[-1]}", remote_traceback=text)
        return CannotStart("the pool's supervisor has ended", remote_traceback="")

    def has_died(self, pid: int) -> bool:
        """As far as the supervisor has said."""
        return pid in self._deaths

    def death(self, pid: int, *, useless: Callable[[], bool]) -> Died | None:
        """What the supervisor says of it, which comes a moment after the server has noticed. Waits no longer than until
        `useless()`. The lock is held, and free meanwhile.
        """
        deadline = time.monotonic() + _EXPLAIN_S
        while pid not in self._deaths and not useless() and time.monotonic() < deadline:
            self._told.wait(deadline - time.monotonic())
        return self._deaths.get(pid)
