# SPDX-License-Identifier: MIT
"""The blocking worker: sockets, time and signals around `protocol.session`."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

from fastgear.addresses import Address, default_servers
from fastgear.errors import ConfigError, ConnectionLost, FastgearError, RemoteProtocolError, ServerError
from fastgear.protocol.session import AssignedJob, WorkerSession
from fastgear.protocol.wire import PacketType
from fastgear.stream import Stream, wait_ready
from fastgear.worker import reports
from fastgear.worker.attempt import Attempt
from fastgear.worker.held import HeldBack
from fastgear.worker.job import WorkerJob
from fastgear.worker.registry import Registry
from fastgear.worker.standing import Standing

__all__ = ["Worker"]

Call = TypeVar("Call", bound=Callable[[WorkerJob], Any])

_CONNECT_S = 5.0
_FINISH_S = 2.0
_STUCK_S = 1.0  # that a result waits for a server which does not read, before the others' jobs go on
_SLICE_S = 0.001  # one server's jobs follow one another for so long, and their results leave together


class _SecondSignal(SystemExit):
    """The end that a second signal asks for. A function's own SystemExit ends only its job."""


class _Connection:
    """One server: its stream while there is one, the session on it, and the jobs that it has given."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.standing = Standing(address)
        self.stream: Stream | None = None
        self.attempt: Attempt | None = None
        self.session = WorkerSession()
        self.jobs: deque[AssignedJob] = deque()
        self.is_stuck = False  # its results wait, and so do its jobs

    @property
    def may_run(self) -> bool:
        return bool(self.jobs) and not self.is_stuck


class Worker:
    """Runs jobs of one or several Gearman servers, one at a time, in the thread that calls `run`.

    `servers` are addresses as `Client` has them; a worker serves all of them, and comes back to one that went away.
    `client_id` is what the server's list of workers shows.

    With `prefetch` above 1 so many jobs of each server are asked for ahead of time, which saves a round trip per job: for
    jobs that take less than a few milliseconds. A job that waits here behind another is the server's "running" job of this
    worker: no idle worker can take it, and its timeout runs. Hence 1, the default, for jobs that take long, or whose lengths
    differ much. When the worker leaves, jobs that have not begun go back to the server, which gives them to others; one that
    dies costs each of them an attempt (the server's ``--job-retries``). A finished result does not wait for another job: it
    leaves within a millisecond, whatever the next one does.

    A function gets a `WorkerJob` and returns the result: bytes, text (sent as UTF-8) or None. What it raises, sys.exit
    included, is sent to the clients as a traceback; JobFailed says that the job failed, without one. It may fork: a child
    that ends has nothing to do with the worker, and one that returns instead is told so by a RuntimeError.

    >>> worker = Worker("127.0.0.1:4730", prefetch=8)
    >>> @worker.function("reverse", timeout=30)
    ... def reverse(job):
    ...     return job.workload[::-1]
    >>> worker.run()  # doctest: +SKIP
    """

    def __init__(self, *servers: str, prefetch: int = 1, client_id: str | None = None) -> None:
        if not 1 <= prefetch <= 100_000:
            raise ConfigError(f"prefetch: {prefetch} is out of range; it is from 1 to 100,000")
        self._connections = [
            _Connection(address)
            for address in dict.fromkeys(Address.parse(server) for server in servers or default_servers())
        ]
        self._prefetch = prefetch
        self._client_id = client_id.encode() if client_id else None
        self._registry = Registry()
        self._before: Callable[[str], Any] | None = None
        self._after: Callable[[], Any] | None = None
        self._stopping = False
        self._wake_read = self._wake_write = -1
        self._wake_lock = threading.RLock()  # of a kind that a signal handler can take in the thread that has it
        self._pid = 0  # of the process that runs it; a child that a job forks has a copy
        self._previous: dict[int, Any] = {}
        self._held = HeldBack(_SLICE_S)

    # -- functions

    def function(self, name: str, *, timeout: float | None = None) -> Callable[[Call], Call]:
        """Register the decorated function under `name`, before `run`.

        `timeout` is how many seconds the server lets one of its jobs take before it gives it to another worker.
        """

        def register(call: Call) -> Call:
            self.register(name, call, timeout=timeout)
            return call

        return register

    def register(self, name: str, call: Callable[[WorkerJob], Any], *, timeout: float | None = None) -> None:
        """The same without a decorator. Raises ConfigError for a name that is taken, or that the protocol cannot carry."""
        self._registry.add(name, call, timeout)

    @property
    def functions(self) -> tuple[str, ...]:
        """The names that are registered."""
        return self._registry.names

    def observe(self, before: Callable[[str], Any], after: Callable[[], Any]) -> None:
        """Have `before` called with the function's name ahead of each of its jobs, and `after` when that is over."""
        self._before, self._after = before, after

    # -- running

    def run(self, *, handle_signals: bool = True) -> None:
        """Work until `stop`, SIGTERM or SIGINT: then finish the job in hand, send its result, and return.

        A second signal ends at once, with SystemExit (KeyboardInterrupt for SIGINT). Signals are handled only when this is
        the main thread, only meanwhile, and not at all without `handle_signals`: then call `stop`. Servers that cannot be
        reached are tried again, with growing pauses; an unreachable server is logged, not raised.
        """
        self._registry.abilities()
        if self._wake_read >= 0:
            raise RuntimeError("this worker runs already")
        self._pid = os.getpid()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            with self._signals(handle_signals):
                while not self._stopping:
                    self._turn()
                self._leave()
        finally:
            self._close()

    def stop(self) -> None:
        """Let `run` return after the job in hand. From any thread, any function, any signal handler."""
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        with self._wake_lock, contextlib.suppress(OSError):
            if self._wake_write >= 0:
                os.write(self._wake_write, b"!")

    def _turn(self) -> None:
        """Look at every connection, wait when there is no job at hand, and run jobs of every server that has given some."""
        self._look(wait=not any(connection.may_run for connection in self._connections))
        for connection in self._connections:
            if connection.may_run and not self._stopping:
                self._run_jobs(connection)

    def _look(self, wait: bool) -> None:
        """Take in what has come. A connection that has ended is seen before the jobs that it has taken back are run."""
        now = time.monotonic()
        for connection in self._connections:
            if connection.stream is None:
                self._connect(connection, now)
        open_ones = {c.stream.fileno(): c for c in self._connections if c.stream is not None}
        retries = [c.standing.backoff.until - now for c in self._connections if c.stream is None and c.attempt is None]
        streams = (c.stream for c in open_ones.values() if c.stream is not None)
        ready = wait_ready(streams, self._wake_read, min(retries, default=None) if wait else 0.0)
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        for fd, connection in open_ones.items():
            if fd in ready:
                self._receive(connection)
                self._flush(connection)

    # -- connections

    def _connect(self, connection: _Connection, now: float) -> None:
        """Begin an attempt to connect, or see what has become of it."""
        if connection.attempt is None:
            if connection.standing.backoff.until <= now:
                connection.attempt = Attempt(connection.address, _CONNECT_S, self._wake)
            return
        try:
            connection.stream = connection.attempt.take()
        except ConnectionLost as error:
            connection.attempt = None
            connection.standing.unreachable(error)
            return
        if connection.stream is not None:
            connection.attempt = None
            self._greet(connection)

    def _greet(self, connection: _Connection) -> None:
        connection.session = WorkerSession(self._prefetch, reports.log_refusal)
        connection.session.hello(self._registry.abilities(), self._client_id)
        self._flush(connection)

    def _receive(self, connection: _Connection) -> None:
        """Take in what is there, and send more of what waits."""
        if connection.stream is None:
            return
        try:
            connection.stream.flush()
            data = connection.stream.receive()
            if data:
                jobs = connection.session.receive(data)
                self._registry.check(jobs)
                connection.jobs += jobs
                connection.standing.worked()
        except (ConnectionLost, RemoteProtocolError, ServerError) as error:
            self._lose(connection, error)

    def _lose(self, connection: _Connection, error: FastgearError) -> None:
        """Its jobs are the server's again: it gives them to others."""
        connection.standing.lost(error)
        if connection.stream is not None:
            self._held.take(connection.stream.fileno())
            connection.stream.close()
        connection.stream = None
        connection.session = WorkerSession()
        connection.jobs.clear()
        connection.is_stuck = False

    def _flush(self, connection: _Connection, patience: float | None = None) -> None:
        """Send all that the session has to say, and wait until it has left: what runs next may take its time.

        A server that takes nothing for `patience` seconds is stuck until it has taken all: then nobody waits for it.
        """
        while connection.stream is not None:
            stream, outgoing = connection.stream, connection.session.take_outgoing()
            held = self._held.take(stream.fileno())
            if held or outgoing:
                stream.send(held + outgoing)
            connection.is_stuck = connection.is_stuck and stream.waiting > 0
            if not stream.waiting or self._stopping or connection.is_stuck:
                return
            ready = wait_ready([stream], self._wake_read, patience)
            connection.is_stuck = not ready
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            self._receive(connection)

    # -- jobs

    def _run_jobs(self, connection: _Connection) -> None:
        """Run a job, and as many more as fit into a slice of time; their results leave together.

        No result waits for the end of another job: `HeldBack` sends it after a slice, whatever the job does.
        """
        until = time.monotonic() + _SLICE_S
        while connection.jobs and not self._stopping:
            self._run_job(connection, connection.jobs.popleft())
            if not connection.jobs or time.monotonic() >= until or not self._hold_back(connection):
                break
        self._flush(connection, _STUCK_S if len(self._connections) > 1 else None)

    def _run_job(self, connection: _Connection, job: AssignedJob) -> None:
        session = connection.session

        def update(kind: PacketType, *args: bytes) -> None:
            session.update(kind, *args)
            self._flush(connection)

        if self._before is not None:
            self._before(job.function)
        report = reports.call(self._registry[job.function].call, WorkerJob(job, update), self._is_the_job_s)
        if self._after is not None:
            self._after()
        if self._stopping:
            session.leave()
        reports.finish(session, job, report)

    def _hold_back(self, connection: _Connection) -> bool:
        """Hold back what the session has to say; False where that has to be sent instead."""
        stream = connection.stream
        if stream is None or stream.waiting:
            return False
        outgoing = connection.session.take_outgoing()
        if self._held.add(stream.fileno(), outgoing):
            return True
        stream.send(self._held.take(stream.fileno()) + outgoing)
        return False

    def _is_the_job_s(self, error: BaseException) -> bool:
        """Whether it ends the job only. sys.exit does, or one job could end every worker; so does asyncio's CancelledError."""
        if os.getpid() != self._pid or isinstance(error, _SecondSignal):
            return False
        return isinstance(error, (Exception, SystemExit)) or type(error).__name__ == "CancelledError"

    # -- leaving

    def _leave(self) -> None:
        """Send what is finished, and let the server see the end, so that it gives the rest to others at once."""
        for connection in self._connections:
            connection.session.leave()
            self._flush(connection)
            if connection.stream is not None:
                connection.stream.finish(_FINISH_S)
                connection.stream = None

    def _close(self) -> None:
        """Also after an exception: what is finished leaves, as far as it goes at once."""
        for connection in self._connections:
            if connection.attempt is not None:
                connection.attempt.abandon()
            if connection.stream is not None:
                with contextlib.suppress(Exception):
                    held = self._held.take(connection.stream.fileno())
                    connection.stream.send(held + connection.session.take_outgoing())
                connection.stream.close()
            connection.stream = connection.attempt = None
            connection.jobs.clear()
            connection.is_stuck = False
        self._held.close()
        if os.getpid() != self._pid:  # in a fork of a job's; a thread that is not here may have had it at that moment
            self._wake_lock = threading.RLock()
        with self._wake_lock:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_read = self._wake_write = -1
        self._stopping = False

    @contextlib.contextmanager
    def _signals(self, handle: bool) -> Iterator[None]:
        """Handle signals. All write to the pipe too, since one that comes just before a wait would not interrupt it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGTERM, signal.SIGINT) if handle else ()
        self._previous = {number: signal.signal(number, self._on_signal) for number in numbers}
        wake_fd = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            with contextlib.suppress(ValueError, OSError):  # it may have been closed
                signal.set_wakeup_fd(wake_fd)
            for number in self._previous:
                self._restore(number)

    def _restore(self, number: int) -> None:
        previous = self._previous[number]
        signal.signal(number, signal.SIG_DFL if previous is None else previous)  # None: it was not set by Python

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if (
            os.getpid() != self._pid
        ):  # a child that a job has forked: it has the handler, and no worker that could leave
            self._restore(number)
            os.kill(os.getpid(), number)
        elif not self._stopping:
            self.stop()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise _SecondSignal(128 + number)
