# SPDX-License-Identifier: MIT
"""asyncio's client: transports and tasks around `protocol.session`. What it does is what the blocking client does."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType

from fastgear.addresses import Address
from fastgear.aiostream import AioStream, Bell, connect
from fastgear.client.aio_job import Job
from fastgear.client.aio_reading import Reading
from fastgear.client.aio_source import source_of
from fastgear.client.base import ClientBase, check_acknowledged, not_greeted
from fastgear.client.many import Course
from fastgear.client.requests import BytesLike, When, as_unique, checked_handle, prepare, prepare_background
from fastgear.errors import ConnectionLost, FastgearError, JobTimeout, ServerError
from fastgear.protocol.session import Answer, ClientSession, SubmittedJob, parse_status
from fastgear.protocol.wire import PacketType, pack_request
from fastgear.types import JobStatus, Priority

__all__ = ["Client"]


class _Connection:
    """A stream, and the session that speaks on it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.session = ClientSession()
        self.is_silent = False  # what it was asked it has not answered in time, and nothing has come since then
        self.stream: AioStream


class _Attempt:
    """To connect to a server, which many tasks may want at once. One makes it, the others wait for its end."""

    def __init__(self) -> None:
        self.over = Bell()
        self.failure: ConnectionLost | None = None


class Client(ClientBase):
    """Submits jobs to one or several Gearman servers, for any number of tasks at once.

    Arguments and methods are those of `fastgear.Client`, to be awaited. One client has one connection to each server; it
    belongs to the event loop in which it is used first, and is closed by ``async with`` or `close`.

    To cancel a task that waits for a job, or to let a timeout end the wait, does not cancel the job, and harms no other
    task. A submission that is cancelled before the answer may have reached the server all the same. Submitting waits while
    a server does not take what has been written. While no task waits for anything a client reads no more than a mebibyte
    ahead; who takes data slowly, and also waits for other jobs meanwhile, had better use a client for each.

    >>> import asyncio, fastgear
    >>> async def main():
    ...     with fastgear.Server("127.0.0.1:0") as server:
    ...         async with fastgear.aio.Client(server.address) as client:
    ...             return await client.echo(b"hello")
    >>> asyncio.run(main())
    b'hello'
    """

    def __init__(
        self, *servers: str, timeout: float | None = 30.0, exceptions: bool = True, client_id: str | None = None
    ) -> None:
        super().__init__(servers, timeout, exceptions, client_id)
        self._connections: dict[Address, _Connection] = {}
        self._attempts: dict[Address, _Attempt] = {}
        self._reading = Reading()
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- jobs

    async def submit(
        self,
        function: str,
        workload: BytesLike = b"",
        *,
        unique: str | bytes | None = None,
        priority: Priority | str = Priority.NORMAL,
        reducer: str | None = None,
    ) -> Job:
        """Submit a foreground job, and return it once the server has acknowledged it.

        Arguments and exceptions are those of `fastgear.Client.submit`.
        """
        record, packet = prepare(function, unique, workload, priority, reducer=reducer)
        return Job(self, record, await self._submit(record, packet))

    async def submit_background(
        self,
        function: str,
        workload: BytesLike = b"",
        *,
        unique: str | bytes | None = None,
        priority: Priority | str = Priority.NORMAL,
        at: When | None = None,
        reducer: str | None = None,
    ) -> str:
        """Submit a job that nobody waits for, and return its handle.

        Arguments and exceptions are those of `fastgear.Client.submit_background`.
        """
        record, packet = prepare_background(function, unique, workload, priority, at=at, reducer=reducer)
        await self._submit(record, packet)
        return record.handle

    async def submit_many(
        self,
        function: str,
        workloads: Iterable[BytesLike] | AsyncIterable[BytesLike],
        *,
        priority: Priority | str = Priority.NORMAL,
        window: int = 1000,
    ) -> AsyncIterator[Job]:
        """Submit a foreground job for each workload, pipelined, and yield the jobs as they finish, in any order.

        As `fastgear.Client.submit_many`: at most `window` jobs are under way, failed jobs are yielded too, and ConnectionLost
        is raised at the end when no server could be reached any more. `workloads` may be asynchronous.
        """
        course, bell = Course(window), Bell()
        source = source_of(workloads, bell)
        try:
            while not course.is_over:
                if course.wanted and source.is_ready:
                    taken, exhausted = source.take(course.wanted)
                    prepared = [prepare(function, None, workload, priority) for workload in taken]
                    course.add([record for record, _ in prepared], exhausted, bell.ring)
                    await self._submit_all(prepared, course)
                if course.is_waiting or not (course.finished or source.is_ready):
                    await self._rest(bell, is_short=course.filling and source.is_ready)
                for record in course.take_finished():
                    yield Job(self, record, bell)
        finally:
            await source.close()
        course.end()

    async def _rest(self, bell: Bell, is_short: bool) -> None:
        """Receive what is there, or wait for news."""
        with self._reading:
            await (asyncio.sleep(0) if is_short else bell.wait())

    async def _submit_all(self, prepared: list[tuple[SubmittedJob, bytes]], course: Course) -> None:
        """Submit them. Where no server can be reached they end, and so does the course."""
        failure: ConnectionLost | None = None
        for record, packet in prepared:
            try:
                if failure is None:
                    connection = self._ready_one() or await self._connection(b"", None)
                    connection.stream.write(connection.session.submit(record, packet))
            except ConnectionLost as error:
                failure = error
            if failure is not None:
                course.fail(record, failure)

    # -- questions

    async def status(self, handle: str) -> JobStatus:
        """The state of a job, by the handle that its submission returned; asked of each server until one knows it."""
        return await self._ask_all(PacketType.GET_STATUS, PacketType.STATUS_RES, checked_handle(handle))

    async def status_unique(self, unique: str | bytes) -> JobStatus:
        """The state of a job by its unique, whatever its function; also how many clients wait for it."""
        return await self._ask_all(PacketType.GET_STATUS_UNIQUE, PacketType.STATUS_RES_UNIQUE, as_unique(unique))

    async def _ask_all(self, request: PacketType, expect: PacketType, name: bytes) -> JobStatus:
        """The answer of the first server that knows it. Where none does, and one could not be asked, raises why."""
        status = JobStatus(known=False, running=False)
        failure: ConnectionLost | JobTimeout | None = None
        for address in self._servers.known_first(time.monotonic()):
            try:
                status = parse_status(await self._ask(await self._open(address), request, expect, name))
            except (ConnectionLost, JobTimeout) as error:
                failure = error
            if status.known:
                return status
        if failure is not None:
            raise failure
        return status

    async def echo(self, data: BytesLike = b"") -> bytes:
        """Let a server send `data` back: the way to know that it is there."""
        connection = await self._connection(b"", self._deadline())
        return (await self._ask(connection, PacketType.ECHO_REQ, PacketType.ECHO_RES, bytes(data)))[0]

    async def option(self, name: str) -> None:
        """Ask every server for a protocol option. Raises ServerError where it is not known."""
        for address in self._servers.addresses:
            await self._ask(await self._open(address), PacketType.OPTION_REQ, PacketType.OPTION_RES, name.encode())

    # -- life cycle

    async def close(self) -> None:
        """Close the connections: foreground jobs that nobody else waits for are dropped by their servers. Idempotent."""
        self._closed = True
        connections = list(self._connections.values())
        for connection in connections:
            connection.stream.abort()
            self._drop(connection, ConnectionLost("the client was closed"))
        for connection in connections:
            await connection.stream.closed()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # -- connections

    def _ready_one(self) -> _Connection | None:
        """Where there is one server only, its connection, if one may write to it at once: the way of most jobs."""
        if len(self._servers.addresses) == 1:
            connection = self._connections.get(self._servers.addresses[0])
            if connection is not None and connection.stream.has_room:
                return connection
        return None

    async def _connection(self, unique: bytes, deadline: float | None) -> _Connection:
        """An open connection to the first server, in the order for this unique, that can be reached; one may write to it."""
        while True:
            connection = await self._reach(unique)
            if not connection.stream.has_room:
                await self._room(connection, deadline)
            if not connection.stream.is_over:
                return connection

    async def _room(self, connection: _Connection, deadline: float | None) -> None:
        """Reading goes on meanwhile: the server may want to be read before it reads."""
        with self._reading:
            if await connection.stream.room(deadline):
                return
        connection.is_silent = True
        self._servers.backoff(connection.address).fell_silent()
        raise JobTimeout(f"{connection.address} did not take what was sent within {self._timeout} s")

    async def _reach(self, unique: bytes) -> _Connection:
        failure: ConnectionLost | None = None
        for address in self._servers.order(unique, time.monotonic()):
            try:
                return await self._open(address)
            except ConnectionLost as error:
                failure = error
        assert failure is not None
        raise failure

    async def _open(self, address: Address) -> _Connection:
        """Of the tasks that want the same connection one makes it. When that one is cancelled, the next one does."""
        while True:
            self._check()
            connection = self._connections.get(address)
            if connection is not None:
                return connection
            attempt = self._attempts.get(address)
            if attempt is None:
                return await self._attempt(address)
            await attempt.over.wait()
            if attempt.failure is not None:
                raise ConnectionLost(str(attempt.failure)) from attempt.failure.__cause__

    def _check(self) -> None:
        self._check_open()
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._connections or self._attempts:
                raise RuntimeError("this client belongs to another event loop; make one for each")
            self._loop = loop

    async def _attempt(self, address: Address) -> _Connection:
        attempt, begun = _Attempt(), time.monotonic()
        self._attempts[address] = attempt
        try:
            connection = await self._connect(address)
        except ConnectionLost as error:
            attempt.failure = error
            self._servers.backoff(address).failed(time.monotonic(), time.monotonic() - begun)
            raise
        finally:
            del self._attempts[address]
            attempt.over.ring()
        self._servers.backoff(address).worked()
        return connection

    async def _connect(self, address: Address) -> _Connection:
        """With its greeting, after which the server is known to answer."""
        connection = _Connection(address)
        take, ended = functools.partial(self._receive, connection), functools.partial(self._drop, connection)
        connection.stream = AioStream(address, take, ended)
        await connect(connection.stream, self._timeout)
        try:
            await self._greet(connection)
            self._check()
            if connection.stream.is_over:
                raise ConnectionLost(f"the connection to {address} broke")
        except BaseException:
            connection.stream.abort()
            raise
        self._connections[address] = connection
        return connection

    async def _greet(self, connection: _Connection) -> None:
        if self._client_id:
            connection.stream.write(pack_request(PacketType.SET_CLIENT_ID, self._client_id.encode()))
        if not self._exceptions:
            return
        try:
            with contextlib.suppress(ServerError):  # a server without them sends WORK_FAIL in place of WORK_EXCEPTION
                await self._ask(connection, PacketType.OPTION_REQ, PacketType.OPTION_RES, b"exceptions")
        except JobTimeout:
            raise not_greeted(connection.address) from None

    def _receive(self, connection: _Connection, data: memoryview) -> None:
        connection.session.receive(data)
        if connection.is_silent:
            connection.is_silent = False
            self._servers.backoff(connection.address).worked()
        self._reading.note(connection.stream, len(data))

    def _drop(self, connection: _Connection, error: FastgearError) -> None:
        """The connection is broken: everything that waits on it gets to know."""
        if self._connections.get(connection.address) is connection:
            del self._connections[connection.address]
            self._servers.backoff(connection.address).failed(time.monotonic())
        connection.session.lose(connection.address, error)

    # -- waiting

    async def _submit(self, record: SubmittedJob, packet: bytes) -> Bell:
        """Send it and wait for the server's word on it. Raises what it says, and ConnectionLost. The bell rings at changes."""
        bell = Bell()
        record.notify = bell.ring
        connection = self._ready_one() or await self._connection(record.unique, self._deadline())
        connection.stream.write(connection.session.submit(record, packet))
        deadline = self._deadline()
        while not record.handle and record.error is None:
            if not await self._wait(bell, deadline) and not record.handle and record.error is None:
                connection.is_silent = True
                raise self._not_acknowledged(connection.address)
        check_acknowledged(record)
        return bell

    async def _ask(
        self, connection: _Connection, request: PacketType, expect: PacketType, name: bytes
    ) -> tuple[bytes, ...]:
        bell, deadline = Bell(), self._deadline()
        answer = Answer(notify=bell.ring)
        if not connection.stream.has_room:
            await self._room(connection, deadline)
        if connection.stream.is_over:
            raise ConnectionLost(f"the connection to {connection.address} broke")
        connection.stream.write(connection.session.ask(answer, request, expect, name))
        while not answer.is_there:
            if not await self._wait(bell, deadline) and not answer.is_there:
                connection.is_silent = True
                raise self._not_answered(connection.address)
        return answer.take()

    async def _wait(self, bell: Bell, deadline: float | None) -> bool:
        with self._reading:
            return await bell.wait(deadline)

    def _deadline(self) -> float | None:
        return None if self._timeout is None else asyncio.get_running_loop().time() + self._timeout
