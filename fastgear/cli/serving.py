# SPDX-License-Identifier: MIT
"""What ``fastgear serve`` does from the moment it serves to its end: it waits for signals.

They are blocked before the first thread starts, and taken here, one after the other, so that no handler ever interrupts anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING

from fastgear.cli.common import CommandError
from fastgear.cli.worker import unplanned
from fastgear.errors import FastgearError
from fastgear.service.log import NOTICE, Log
from fastgear.service.systemd import Systemd

if TYPE_CHECKING:
    from fastgear.server.server import Server
    from fastgear.supervisor.launch import Workers

__all__ = ["SIGNALS", "WORKERS_SIGNALS", "Serving"]

_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGUSR1})
SIGNALS = _ENDING | {signal.SIGHUP}
WORKERS_SIGNALS = frozenset({signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD, signal.SIGIO})

logger = logging.getLogger(__name__)


class Serving:
    """A server that runs, its workers if it has any, and who is to be told what happens."""

    def __init__(
        self,
        server: Server,
        workers: Workers | None,
        systemd: Systemd,
        log: Log,
        status: str,
    ) -> None:
        self._server = server
        self._workers = workers
        self._systemd = systemd
        self._log = log
        self._signals = SIGNALS if workers is None else SIGNALS | WORKERS_SIGNALS
        self._status = status
        self._drained = False
        self._failure: FastgearError | None = None
        if workers is not None:
            _signal_when_readable(workers.fileno())

    def run(self) -> None:
        """Until a signal ends it. Raises CommandError when the workers have ended by themselves."""
        self._systemd.ready(self._status)
        while (number := self._next()) not in _ENDING:
            self._handle(number)
            if self._workers is not None and not self._workers.running:
                raise CommandError("the worker processes have ended, and so does the server")
        if number == signal.SIGUSR1:
            self._drain()
        self._systemd.stopping()
        if number != signal.SIGUSR1 and self._workers is not None:
            self._drain_workers(self._workers)

    def _next(self) -> int:
        """The next signal. Meanwhile the manager's watchdog hears that the server is alive, as long as it is."""
        watchdog_s = self._systemd.watchdog_s
        if not watchdog_s:
            return signal.sigwait(self._signals)
        while True:
            found = signal.sigtimedwait(self._signals, watchdog_s / 3)
            self._prove()
            if found is not None:
                return found.si_signo

    def _prove(self) -> None:
        """A server that does not answer is not alive, and one that has ended neither."""
        with contextlib.suppress(RuntimeError):
            self._server.command("version")
            self._systemd.alive()

    def _handle(self, number: int) -> None:
        """A signal that ends nothing."""
        if number == signal.SIGHUP:
            self._systemd.reloading()
            self._log.reopen()
        workers = self._workers
        if workers is not None:
            if number not in (signal.SIGCHLD, signal.SIGIO):
                os.kill(workers.pid, number)
            for event in workers.receive():
                text = unplanned(event)
                logger.log(logging.WARNING if text else logging.INFO, "%s", text or event)
        if number == signal.SIGHUP:
            self._systemd.ready(self._status)

    # -- the end

    def _drain(self) -> None:
        """Finish all jobs, unless another signal comes."""
        logger.log(NOTICE, "finishing the jobs that there are; no new ones are taken")
        self._systemd.status("finishing the jobs that there are")
        thread = threading.Thread(target=self._stop_and_tell)
        thread.start()
        while not self._drained:
            number = self._next()
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif number != signal.SIGUSR1:
                self._handle(number)
        thread.join()
        if self._failure is not None:
            raise self._failure

    def _stop_and_tell(self) -> None:
        self._stop(float("inf"))
        self._drained = True
        os.kill(os.getpid(), signal.SIGUSR1)

    def _stop(self, drain: float | None = None) -> None:
        """In either thread; what went wrong is raised in the end."""
        try:
            self._server.stop(drain)
        except FastgearError as error:
            self._failure = error

    def _drain_workers(self, workers: Workers) -> None:
        """Until the last has left, or another signal comes."""
        logger.log(NOTICE, "the workers finish the jobs in hand")
        workers.drain()
        while workers.running:
            number = self._next()
            if number in (signal.SIGTERM, signal.SIGINT):
                break
            if number != signal.SIGUSR1:
                self._handle(number)


def _signal_when_readable(fd: int) -> None:
    """SIGIO tells of what comes there, so that one wait is enough for signals and events."""
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
