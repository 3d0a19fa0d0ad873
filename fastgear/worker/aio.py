# SPDX-License-Identifier: MIT
"""asyncio's worker: transports, tasks and signals around `protocol.session`. Functions run in the loop, or in threads."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from fastgear.addresses import Address, default_servers
from fastgear.aiostream import AioStream, Bell, connect
from fastgear.errors import ConfigError, ConnectionLost, FastgearError
from fastgear.protocol.session import AssignedJob, WorkerSession
from fastgear.protocol.wire import PacketType
from fastgear.worker import reports
from fastgear.worker.aio_job import WorkerJob
from fastgear.worker.job import WorkerJob as PlainJob
from fastgear.worker.registry import Registration, Registry
from fastgear.worker.standing import Standing

__all__ = ["Worker"]

Call = TypeVar("Call", bound=Callable[..., Any])

_CONNECT_S = 5.0
_FINISH_S = 2.0
_STUCK_S = 1.0  # that a result waits for a server which does not read, before the others' jobs go on
_SLICE_S = 0.001  # plain functions are called one after the other for so long, before the loop goes on


class _Connection:
    """A stream, the session on it, and the server at its other end."""

    def __init__(self, standing: Standing, session: WorkerSession) -> None:
        self.standing = standing
        self.session = session
        self.over = Bell()
        self.stream: AioStream

    def send(self) -> None:
        """Send what the session has to say."""
        if outgoing := self.session.take_outgoing():
            self.stream.write(outgoing)

    async def update(self, kind: PacketType, *args: bytes) -> None:
        """Send a report in the middle of a job, once there is room."""
        if not self.stream.has_room:
            await self.stream.room()
        self.session.update(kind, *args)
        self.send()


class Worker:
    """Runs jobs of one or several Gearman servers in the event loop that awaits `run`, up to `concurrency` at once.

    A function is asynchronous, and gets a `WorkerJob`; or plain, and gets a `fastgear.WorkerJob`, as in `fastgear.Worker`. A
    plain one holds up the loop while it runs, so it should be quick; with ``thread=True`` each of its jobs runs in a thread of
    the loop's default executor (`asyncio.to_thread`). What functions return and raise means the same as there.

    `prefetch` is how many jobs of each server are in hand at most, running or waiting; it is `concurrency` when not given. Above
    that, the next jobs are there when one ends, but no other worker can have them meanwhile. Servers, `client_id` and what
    becomes of jobs that are given back are as in `fastgear.Worker`.

    >>> worker = Worker("127.0.0.1:4730", concurrency=100)
    >>> @worker.function("fetch", timeout=30)
    ... async def fetch(job):
    ...     await job.set_status(1, 2)
    ...     return job.workload[::-1]
    >>> asyncio.run(worker.run(handle_signals=True))  # doctest: +SKIP
    """

    def __init__(
        self, *servers: str, concurrency: int = 1, prefetch: int | None = None, client_id: str | None = None
    ) -> None:
        prefetch = concurrency if prefetch is None else prefetch
        for name, value in (("concurrency", concurrency), ("prefetch", prefetch)):
            if not 1 <= value <= 100_000:
                raise ConfigError(f"{name}: {value} is out of range; it is from 1 to 100,000")
        addresses = [Address.parse(server) for server in servers or default_servers()]
        self._servers = [Standing(address) for address in dict.fromkeys(addresses)]
        self._concurrency = concurrency
        self._prefetch = prefetch
        self._client_id = client_id.encode() if client_id else None
        self._registry = Registry()
        self._loop: asyncio.AbstractEventLoop | None = None  # while it runs
        self._stopping = False
        self._ending = False  # `run` is cancelled, or ends for another reason than `stop`
        self._exit: BaseException | None = None  # that a second signal asks for
        self._news = Bell()  # for `run`: stop, or the end of a task
        self._connections: set[_Connection] = set()
        self._jobs: deque[tuple[_Connection, AssignedJob]] = deque()  # that have not begun
        self._tasks: set[asyncio.Task[None]] = set()  # of jobs
        self._quick: set[str] = set()  # plain functions whose last job was over at once

    # -- functions

    def function(self, name: str, *, timeout: float | None = None, thread: bool = False) -> Callable[[Call], Call]:
        """Register the decorated function under `name`, before `run`.

        `timeout` is how many seconds the server lets one of its jobs take before it gives it to another worker.
        """

        def register(call: Call) -> Call:
            self.register(name, call, timeout=timeout, thread=thread)
            return call

        return register

    def register(
        self, name: str, call: Callable[..., Any], *, timeout: float | None = None, thread: bool = False
    ) -> None:
        """The same without a decorator. Raises ConfigError for a name that is taken, or that the protocol cannot carry."""
        self._registry.add(name, call, timeout, thread=thread)

    @property
    def functions(self) -> tuple[str, ...]:
        """The names that are registered."""
        return self._registry.names

    # -- running

    async def run(self, *, handle_signals: bool = False) -> None:
        """Work until `stop`: then finish the jobs that have begun, send their results, and return.

        Cancelled, it cancels the functions that run, waits for their end, and closes the connections, so that the servers give
        their jobs to others; a function in a thread cannot be cancelled, and its result is lost. With `handle_signals`, in the
        main thread, SIGTERM and SIGINT are a `stop`; a second one ends at once, with SystemExit (KeyboardInterrupt for SIGINT).
        Servers that cannot be reached are tried again, with growing pauses; that is logged, not raised.
        """
        self._registry.abilities()
        if self._loop is not None:
            raise RuntimeError("this worker runs already")
        self._loop = asyncio.get_running_loop()
        serving = {self._loop.create_task(self._serve(standing)) for standing in self._servers}
        try:
            for task in serving:
                task.add_done_callback(self._ring)
            with self._signals(handle_signals):
                await self._until_stopped(serving)
                await self._cancel(serving)
                await self._leave()
        finally:
            self._ending = True
            await self._close(serving)

    def stop(self) -> None:
        """Let `run` return after the jobs that have begun. From any thread, any function, any signal handler."""
        self._stopping = True
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it may be closed
                loop.call_soon_threadsafe(self._news.ring)

    def _ring(self, task: asyncio.Task[None]) -> None:
        self._news.ring()

    async def _until_stopped(self, serving: Iterable[asyncio.Task[None]]) -> None:
        while not self._stopping:
            await self._news.wait()
            for task in serving:
                if task.done():
                    task.result()
            if self._exit is not None:
                raise self._exit

    async def _leave(self) -> None:
        """Let the jobs that have begun end, and the servers see the end, so that they give the rest to others at once."""
        for connection in self._connections:
            connection.session.leave()
            connection.stream.give_up(_FINISH_S)
        while self._tasks and self._exit is None:
            await self._news.wait()
        if self._exit is not None:
            raise self._exit
        await asyncio.gather(*(connection.stream.finish(_FINISH_S) for connection in self._connections))

    async def _close(self, serving: set[asyncio.Task[None]]) -> None:
        """Also after an exception: what is finished leaves, as far as it goes at once."""
        self._jobs.clear()
        try:
            await self._cancel(serving | self._tasks)
        finally:
            connections = list(self._connections)
            self._connections.clear()
            for connection in connections:
                connection.stream.flush()
                connection.stream.abort()
            self._loop, self._exit = None, None
            self._stopping = self._ending = False
        for connection in connections:
            await connection.stream.closed()

    async def _cancel(self, tasks: set[asyncio.Task[None]]) -> None:
        """Cancel them and wait for their end, whatever it is."""
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- connections

    async def _serve(self, standing: Standing) -> None:
        """Keep a connection to one server."""
        while True:
            await asyncio.sleep(max(0.0, standing.backoff.until - time.monotonic()))
            session = WorkerSession(self._prefetch, reports.log_refusal, concurrency=self._concurrency)
            connection = _Connection(standing, session)
            try:
                await self._connect(connection)
            except ConnectionLost as error:
                standing.unreachable(error)
                continue
            while not connection.stream.is_over:
                await connection.over.wait()

    async def _connect(self, connection: _Connection) -> None:
        take, ended = functools.partial(self._receive, connection), functools.partial(self._lose, connection)
        connection.stream = AioStream(connection.standing.address, take, ended)
        await connect(connection.stream, _CONNECT_S)
        if not connection.stream.is_over:
            self._connections.add(connection)
            connection.session.hello(self._registry.abilities(), self._client_id)
            connection.send()

    def _receive(self, connection: _Connection, data: memoryview) -> None:
        jobs = connection.session.receive(data)
        self._registry.check(jobs)
        connection.standing.worked()
        self._jobs.extend((connection, job) for job in jobs)
        connection.send()
        self._begin()

    def _lose(self, connection: _Connection, error: FastgearError) -> None:
        """Its jobs are the server's again: it gives them to others. The result of one that has begun is lost."""
        connection.standing.lost(error)
        self._connections.discard(connection)
        self._jobs = deque(one for one in self._jobs if one[0] is not connection)
        connection.over.ring()

    # -- jobs

    def _begin(self) -> None:
        """Begin as many jobs as there are and may run. Plain functions run here and now, for a slice of time."""
        until = time.monotonic() + _SLICE_S
        while self._jobs and len(self._tasks) < self._concurrency and not (self._stopping or self._ending):
            connection, job = self._jobs.popleft()
            registration = self._registry[job.function]
            if registration.is_async or registration.thread or not connection.stream.has_room:
                self._start(connection, job, registration)
                continue
            self._call_now(connection, job, registration)
            if time.monotonic() >= until:
                asyncio.get_running_loop().call_soon(self._begin)
                return

    def _call_now(self, connection: _Connection, job: AssignedJob, registration: Registration) -> None:
        """No result waits for the end of a plain function, but for those that took no time when they were called last."""
        if job.function not in self._quick:
            for other in self._connections:
                other.stream.flush()
        start = time.monotonic()
        self._finish(connection, job, self._call(connection, job, registration))
        if time.monotonic() - start < _SLICE_S:
            self._quick.add(job.function)
        else:
            self._quick.discard(job.function)

    def _start(self, connection: _Connection, job: AssignedJob, registration: Registration) -> None:
        task = asyncio.get_running_loop().create_task(self._run(connection, job, registration))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._exit = error
        if self._stopping or self._exit is not None:
            self._news.ring()
        elif self._jobs:
            self._begin()

    async def _run(self, connection: _Connection, job: AssignedJob, registration: Registration) -> None:
        """A job, up to the moment when the next one may be begun in its place: not while results pile up."""
        if registration.is_async:
            report = await self._await(connection, job, registration)
        elif registration.thread:
            report = await self._call_in_thread(connection, job, registration)
        else:
            report = self._call(connection, job, registration)
        self._finish(connection, job, report)
        if not connection.stream.has_room:
            is_only_one = len(self._servers) == 1
            await connection.stream.room(None if is_only_one else asyncio.get_running_loop().time() + _STUCK_S)

    async def _await(self, connection: _Connection, job: AssignedJob, registration: Registration) -> reports.Report:
        shown = WorkerJob(job, connection.update)
        try:
            return reports.completed(shown, await registration.call(shown))
        except BaseException as error:
            if not self._is_the_job_s(error):
                raise
            return reports.raised(shown, error)

    def _call(self, connection: _Connection, job: AssignedJob, registration: Registration) -> reports.Report:
        def update(kind: PacketType, *args: bytes) -> None:
            connection.session.update(kind, *args)
            connection.send()
            connection.stream.flush()  # the function may go on for long

        return reports.call(registration.call, PlainJob(job, update), self._is_the_job_s)

    async def _call_in_thread(
        self, connection: _Connection, job: AssignedJob, registration: Registration
    ) -> reports.Report:
        loop = asyncio.get_running_loop()

        def update(kind: PacketType, *args: bytes) -> None:
            asyncio.run_coroutine_threadsafe(connection.update(kind, *args), loop).result()

        return await asyncio.to_thread(reports.call, registration.call, PlainJob(job, update), self._is_the_job_s)

    def _finish(self, connection: _Connection, job: AssignedJob, report: reports.Report) -> None:
        if self._stopping:
            connection.session.leave()
        reports.finish(connection.session, job, report)
        connection.send()

    def _is_the_job_s(self, error: BaseException) -> bool:
        """Whether it ends the job only. sys.exit does, or one job could end every worker; so does a cancellation of its own."""
        return isinstance(error, (Exception, SystemExit)) or (
            isinstance(error, asyncio.CancelledError) and not self._ending
        )

    # -- signals

    @contextlib.contextmanager
    def _signals(self, handle: bool) -> Iterator[None]:
        if not handle:
            yield
            return
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("signals are handled in the main thread only; call stop() instead")
        loop = asyncio.get_running_loop()
        previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in previous:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number, handler in previous.items():
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: it was not set by Python

    def _on_signal(self, number: int) -> None:
        if not self._stopping:
            self.stop()
            return
        self._exit = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        self._news.ring()
