# SPDX-License-Identifier: MIT
"""The blocking client: sockets and time around `protocol.session`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from types import TracebackType

from fastgear.addresses import Address
from fastgear.client.base import ClientBase, check_acknowledged, not_greeted
from fastgear.client.job import Job
from fastgear.client.many import Course, take
from fastgear.client.requests import BytesLike, When, as_unique, checked_handle, prepare, prepare_background
from fastgear.errors import ConnectionLost, FastgearError, InternalError, JobTimeout, ServerError
from fastgear.protocol.session import Answer, ClientSession, SubmittedJob, parse_status
from fastgear.protocol.wire import PacketType, pack_request
from fastgear.stream import Stream, connect, wait_ready
from fastgear.types import JobStatus, Priority

__all__ = ["Client"]

_INTERRUPTED = (
    "the connection to {} broke: an exception, from a signal handler say, interrupted it in the middle of a packet"
)


class _Connection:
    """A stream and the session that speaks on it.

    `in_doubt` is set while their states change together. An exception that a signal handler raises in the middle leaves it
    set: what has been sent, or what the next bytes mean, is not known then, and the connection is of no use any more.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.session = ClientSession()
        self.in_doubt = False
        self.is_silent = False  # what it was asked it has not answered in time, and nothing has come since then


class Client(ClientBase):
    """Submits jobs to one or several Gearman servers.

    `servers` are addresses (``host:port``, ``[ipv6]:port``, ``unix:/path``); none means what GEARMAN_SERVERS says, or
    127.0.0.1:4730. With several, a job's unique decides on which it runs, and the next one is taken while a server is away.
    `timeout` is how many seconds a server may take to connect and to acknowledge (None: no limit), not how long a job may
    take; one that has taken longer is left alone until it speaks. Connecting happens at the first use.

    A client is for one thread at a time, and for the process that made it: after a fork, make another.

    >>> from fastgear import Server
    >>> with Server("127.0.0.1:0") as server, Client(server.address) as client:
    ...     client.echo(b"hello")
    b'hello'
    """

    def __init__(
        self, *servers: str, timeout: float | None = 30.0, exceptions: bool = True, client_id: str | None = None
    ) -> None:
        super().__init__(servers, timeout, exceptions, client_id)
        self._connections: dict[Address, _Connection] = {}

    # -- jobs

    def submit(
        self,
        function: str,
        workload: BytesLike = b"",
        *,
        unique: str | bytes | None = None,
        priority: Priority | str = Priority.NORMAL,
        reducer: str | None = None,
    ) -> Job:
        """Submit a foreground job, and return it once the server has acknowledged it.

        Jobs of the same function and `unique` are one job while it is queued or running, and all its clients get its
        result; without a unique, each is its own. Raises QueueFull or ServerError when the server refuses, ConnectionLost
        when no server can be reached or the connection breaks before the answer.
        """
        record, packet = prepare(function, unique, workload, priority, reducer=reducer)
        self._submit(record, packet)
        return Job(self, record)

    def submit_background(
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

        Without a `unique` it gets a random one, since some servers confuse background jobs that have none. `at` delays it:
        a time (seconds since 1970, or a datetime; one without a time zone is local), or a timedelta from now; servers
        count in whole seconds, so it is rounded up. Raises what `submit` raises.
        """
        record, packet = prepare_background(function, unique, workload, priority, at=at, reducer=reducer)
        self._submit(record, packet)
        return record.handle

    def submit_many(
        self,
        function: str,
        workloads: Iterable[BytesLike],
        *,
        priority: Priority | str = Priority.NORMAL,
        window: int = 1000,
    ) -> Iterator[Job]:
        """Submit a foreground job for each workload, pipelined, and yield the jobs as they finish, in any order.

        At most `window` jobs are under way, so `workloads` may be endless; those that come slowly are submitted as they come,
        and the iterable may use this client itself. Failed jobs are yielded too: `Job.result` raises. A connection that
        breaks ends its jobs with ConnectionLost, and the others go on; when no server can be reached any more, ConnectionLost
        is raised, after every job whose workload was taken has been yielded.
        """
        course, source = Course(window), iter(workloads)
        while not course.is_over:
            if course.wanted:
                taken, exhausted = take(source, course.wanted)
                prepared = [prepare(function, None, workload, priority) for workload in taken]
                course.add([record for record, _ in prepared], exhausted)
                self._submit_all(prepared, course)
            if course.is_waiting:
                self._receive(0.0 if course.filling else None)
            for record in course.take_finished():
                yield Job(self, record)
        course.end()

    def _submit_all(self, prepared: list[tuple[SubmittedJob, bytes]], course: Course) -> None:
        """Submit them, what goes to one server in one piece. Where no server can be reached they end, and so does the course."""
        self._refresh()
        batches: dict[_Connection, list[tuple[SubmittedJob, bytes]]] = {}
        failure: ConnectionLost | None = None
        for record, packet in prepared:
            try:
                if failure is None:
                    batches.setdefault(self._connection(b""), []).append((record, packet))
            except ConnectionLost as error:
                failure = error
            if failure is not None:
                course.fail(record, failure)
        for connection, batch in batches.items():
            self._send(connection, batch)

    # -- questions

    def status(self, handle: str) -> JobStatus:
        """The state of a job, by the handle that its submission returned; asked of each server until one knows it."""
        return self._ask_all(PacketType.GET_STATUS, PacketType.STATUS_RES, checked_handle(handle))

    def status_unique(self, unique: str | bytes) -> JobStatus:
        """The state of a job by its unique, whatever its function; also how many clients wait for it."""
        return self._ask_all(PacketType.GET_STATUS_UNIQUE, PacketType.STATUS_RES_UNIQUE, as_unique(unique))

    def _ask_all(self, request: PacketType, expect: PacketType, name: bytes) -> JobStatus:
        """The answer of the first server that knows it. Where none does, and one could not be asked, raises why."""
        status = JobStatus(known=False, running=False)
        failure: ConnectionLost | JobTimeout | None = None
        self._refresh()
        for address in self._servers.known_first(time.monotonic()):
            try:
                status = parse_status(self._ask(self._open(address), request, expect, name))
            except (ConnectionLost, JobTimeout) as error:
                failure = error
            if status.known:
                return status
        if failure is not None:
            raise failure
        return status

    def echo(self, data: BytesLike = b"") -> bytes:
        """Let a server send `data` back: the way to know that it is there."""
        self._refresh()
        connection = self._connection(b"")
        return self._ask(connection, PacketType.ECHO_REQ, PacketType.ECHO_RES, bytes(data))[0]

    def option(self, name: str) -> None:
        """Ask every server for a protocol option. Raises ServerError where it is not known."""
        self._refresh()
        for address in self._servers.addresses:
            self._ask(self._open(address), PacketType.OPTION_REQ, PacketType.OPTION_RES, name.encode())

    # -- life cycle

    def close(self) -> None:
        """Close the connections: foreground jobs that nobody else waits for are dropped by their servers. Idempotent."""
        self._closed = True
        while self._connections:
            connection = next(iter(self._connections.values()))
            self._drop(connection, ConnectionLost("the client was closed"))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- connections

    def _connection(self, unique: bytes) -> _Connection:
        """An open connection to the first server, in the order for this unique, that can be reached."""
        failure: ConnectionLost | None = None
        for address in self._servers.order(unique, time.monotonic()):
            try:
                return self._open(address)
            except ConnectionLost as error:
                failure = error
        assert failure is not None
        raise failure

    def _open(self, address: Address) -> _Connection:
        self._check_open()
        connection = self._connections.get(address)
        if connection is not None:
            connection.stream.check_process()
            return connection
        backoff, begun = self._servers.backoff(address), time.monotonic()
        try:
            connection = _Connection(connect(address, self._timeout))
        except ConnectionLost:
            backoff.failed(time.monotonic(), time.monotonic() - begun)
            raise
        self._connections[address] = connection
        self._greet(connection)
        backoff.worked()
        return connection

    def _greet(self, connection: _Connection) -> None:
        if self._client_id:
            connection.in_doubt = True
            connection.stream.send(pack_request(PacketType.SET_CLIENT_ID, self._client_id.encode()))
            connection.in_doubt = False
        if not self._exceptions:
            return
        try:
            with contextlib.suppress(ServerError):  # a server without them sends WORK_FAIL in place of WORK_EXCEPTION
                self._ask(connection, PacketType.OPTION_REQ, PacketType.OPTION_RES, b"exceptions")
        except JobTimeout:
            error = not_greeted(connection.stream.address)
            self._drop(connection, error, spent=self._timeout or 0.0)
            raise error from None

    def _refresh(self) -> None:
        """Take in what is there, so that a connection that broke while nobody looked is not used once more."""
        for connection in list(self._connections.values()):
            self._receive_from(connection, 0.0)

    def _drop(self, connection: _Connection, error: FastgearError, *, spent: float = 0.0) -> None:
        """The connection is broken: everything that waits on it gets to know."""
        address = connection.stream.address
        if self._connections.get(address) is not connection:
            return
        connection.session.lose(address, error)
        del self._connections[address]
        self._servers.backoff(address).failed(time.monotonic(), spent)
        connection.stream.close()

    def _send(self, connection: _Connection, submissions: list[tuple[SubmittedJob, bytes]]) -> None:
        connection.in_doubt = True
        submit = connection.session.submit
        connection.stream.send(b"".join([submit(record, packet) for record, packet in submissions]))
        connection.in_doubt = False

    # -- waiting

    def _submit(self, record: SubmittedJob, packet: bytes) -> None:
        """Send it and wait for the server's word on it. Raises what it says, and ConnectionLost."""
        self._refresh()
        connection = self._connection(record.unique)
        self._send(connection, [(record, packet)])
        deadline = _deadline(self._timeout)
        while not record.handle and record.error is None:
            if not self._receive_from(connection, deadline):
                connection.is_silent = True
                raise self._not_acknowledged(connection.stream.address)
        check_acknowledged(record)

    def _ask(self, connection: _Connection, request: PacketType, expect: PacketType, name: bytes) -> tuple[bytes, ...]:
        answer = Answer()
        connection.in_doubt = True
        connection.stream.send(connection.session.ask(answer, request, expect, name))
        connection.in_doubt = False
        deadline = _deadline(self._timeout)
        while not answer.is_there:
            if not self._receive_from(connection, deadline):
                connection.is_silent = True
                raise self._not_answered(connection.stream.address)
        return answer.take()

    def _receive_from(self, connection: _Connection, deadline: float | None) -> bool:
        """Wait for input of one connection and take it in; False when the deadline passes."""
        if connection.in_doubt:
            self._drop(connection, ConnectionLost(_INTERRUPTED.format(connection.stream.address)))
            return True
        if not connection.stream.poll(deadline):
            return False
        connection.in_doubt = True
        try:
            connection.stream.flush()
            data = connection.stream.receive()
            connection.session.receive(data)
            if data and connection.is_silent:
                connection.is_silent = False
                self._servers.backoff(connection.stream.address).worked()
        except FastgearError as error:
            self._drop(connection, error)
        connection.in_doubt = False
        return True

    def _receive(self, timeout: float | None) -> None:
        """Wait for input of any connection and take it in."""
        connections = list(self._connections.values())
        if not connections:
            raise InternalError("a job is waited for, and there is no connection")
        if len(connections) == 1:
            self._receive_from(connections[0], _deadline(timeout))
            return
        if any(connection.in_doubt for connection in connections):
            timeout = 0.0
        by_fd = {connection.stream.fileno(): connection for connection in connections}
        ready = wait_ready((connection.stream for connection in connections), None, timeout)
        for fd, connection in by_fd.items():
            if fd in ready or connection.in_doubt:
                self._receive_from(connection, 0.0)

    def _wait_for(self, record: SubmittedJob, timeout: float | None) -> None:
        """Receive until the job is over or the time is."""
        deadline = _deadline(timeout)
        while not record.is_over:
            left = None if deadline is None else deadline - time.monotonic()
            self._receive(left if left is None else max(0.0, left))
            if left is not None and left <= 0:
                return


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
