# SPDX-License-Identifier: MIT
"""The blocking client: sockets and time around `protocol.session`."""

from __future__ import annotations

import contextlib
import datetime
import math
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType

from fastgear.addresses import Address, default_servers
from fastgear.client.job import Job, refused
from fastgear.errors import (
    ConfigError,
    ConnectionLost,
    FastgearError,
    InternalError,
    JobTimeout,
    LocalProtocolError,
    ServerError,
)
from fastgear.protocol.session import MAX_HANDLE, Answer, ClientSession, SubmittedJob, parse_status, submission
from fastgear.protocol.wire import PacketType, pack_request
from fastgear.servers import Backoff, Servers
from fastgear.stream import Stream, connect, wait_ready
from fastgear.types import JobStatus, Priority

__all__ = ["Client"]

_TAKE_S = 0.001  # workloads that come within this time are submitted together
_INTERRUPTED = (
    "the connection to {} broke: an exception, from a signal handler say, interrupted it in the middle of a packet"
)

BytesLike = bytes | bytearray | memoryview
When = float | datetime.datetime | datetime.timedelta


class _Connection:
    """A stream and the session that speaks on it.

    `in_doubt` is set while their states change together. An exception that a signal handler raises in the middle leaves it
    set: what has been sent, or what the next bytes mean, is not known then, and the connection is of no use any more.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.session = ClientSession()
        self.in_doubt = False


class Client:
    """Submits jobs to one or several Gearman servers.

    `servers` are addresses (``host:port``, ``[ipv6]:port``, ``unix:/path``); none means what GEARMAN_SERVERS says, or
    127.0.0.1:4730. With several, a job's unique decides on which it runs, and the next one is taken while a server is away.
    `timeout` is how many seconds a server may take to connect and to acknowledge (None: no limit), not how long a job may
    take. Connecting happens at the first use.

    A client is for one thread at a time, and for the process that made it: after a fork, make another.

    >>> from fastgear import Server
    >>> with Server("127.0.0.1:0") as server, Client(server.address) as client:
    ...     client.echo(b"hello")
    b'hello'
    """

    def __init__(
        self, *servers: str, timeout: float | None = 30.0, exceptions: bool = True, client_id: str | None = None
    ) -> None:
        self._servers = Servers([Address.parse(server) for server in servers or default_servers()], Backoff())
        self._timeout = timeout
        self._exceptions = exceptions
        self._client_id = client_id
        self._connections: dict[Address, _Connection] = {}
        self._closed = False

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
        record, packet = _prepare(function, unique, workload, priority, reducer=reducer)
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
        if at is not None and reducer is not None:
            raise LocalProtocolError("the protocol has no job that is both delayed and reduced")
        unique = uuid.uuid4().hex if unique is None else unique
        epoch = None if at is None else _epoch(at)
        record, packet = _prepare(function, unique, workload, priority, background=True, epoch=epoch, reducer=reducer)
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
        if window < 1:
            raise ConfigError(f"window: {window} is too small; it is at least 1")
        source = iter(workloads)
        finished: deque[SubmittedJob] = deque()
        under_way: set[SubmittedJob] = set()
        failure: ConnectionLost | None = None
        exhausted, filling = False, True
        room = 1  # the first alone: the second may be long in coming
        while under_way or not exhausted:
            if filling or (not exhausted and room > window // 2):
                taken, exhausted = _take(source, room)
                prepared = [_prepare(function, None, workload, priority) for workload in taken]
                under_way.update(record for record, _ in prepared)
                failure = self._submit_all(prepared, finished)
                exhausted = exhausted or failure is not None
                filling = not exhausted and len(under_way) < window
            if under_way and not finished:
                self._receive(0.0 if filling else None)
            while finished:
                record = finished.popleft()
                if record in under_way:
                    under_way.remove(record)
                    yield Job(self, record)
            room = window - len(under_way)
        if failure is not None:
            raise failure

    def _submit_all(
        self, prepared: list[tuple[SubmittedJob, bytes]], finished: deque[SubmittedJob]
    ) -> ConnectionLost | None:
        """Submit them, what goes to one server in one piece. Where no server can be reached they end, and that is returned."""
        self._refresh()
        batches: dict[_Connection, list[tuple[SubmittedJob, bytes]]] = {}
        failure: ConnectionLost | None = None
        for record, packet in prepared:
            record.sink = finished
            try:
                if failure is None:
                    batches.setdefault(self._connection(b""), []).append((record, packet))
            except ConnectionLost as error:
                failure = error
            if failure is not None:
                record.error = failure
                record.deliver()
        for connection, batch in batches.items():
            self._send(connection, batch)
        return failure

    # -- questions

    def status(self, handle: str) -> JobStatus:
        """The state of a job, by the handle that its submission returned; asked of each server until one knows it."""
        name = handle.encode("utf-8", "surrogateescape")
        if not name or len(name) > MAX_HANDLE:
            raise LocalProtocolError(f"a handle has 1 to {MAX_HANDLE} bytes; this one has {len(name)}")
        return self._ask_all(PacketType.GET_STATUS, PacketType.STATUS_RES, name)

    def status_unique(self, unique: str | bytes) -> JobStatus:
        """The state of a job by its unique, whatever its function; also how many clients wait for it."""
        return self._ask_all(PacketType.GET_STATUS_UNIQUE, PacketType.STATUS_RES_UNIQUE, _unique(unique))

    def _ask_all(self, request: PacketType, expect: PacketType, name: bytes) -> JobStatus:
        """The answer of the first server that knows it. Where none does, and one could not be asked, raises why."""
        status = JobStatus(known=False, running=False)
        failure: ConnectionLost | JobTimeout | None = None
        self._refresh()
        for address in self._servers.addresses:
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
        if self._closed:
            raise RuntimeError("this client is closed")
        connection = self._connections.get(address)
        if connection is not None:
            connection.stream.check_process()
            return connection
        backoff = self._servers.backoff(address)
        try:
            connection = _Connection(connect(address, self._timeout))
        except ConnectionLost:
            backoff.failed(time.monotonic())
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
            error = ConnectionLost(f"cannot connect to {connection.stream.address}: it did not answer in time")
            self._drop(connection, error)
            raise error from None

    def _refresh(self) -> None:
        """Take in what is there, so that a connection that broke while nobody looked is not used once more."""
        for connection in list(self._connections.values()):
            self._receive_from(connection, 0.0)

    def _drop(self, connection: _Connection, error: FastgearError) -> None:
        """The connection is broken: everything that waits on it gets to know."""
        address = connection.stream.address
        if self._connections.get(address) is not connection:
            return
        acknowledged, unanswered, answers = connection.session.unfinished()
        text = str(error) if isinstance(error, ConnectionLost) else f"the connection to {address} broke: {error}"
        lost = ConnectionLost(text, handles=[record.handle for record in acknowledged], unanswered=len(unanswered))
        for record in (*acknowledged, *unanswered):
            if not record.is_over:
                record.error = lost
            record.deliver()
        for answer in answers:
            if not answer.is_there:
                answer.error = lost
        del self._connections[address]
        self._servers.backoff(address).failed(time.monotonic())
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
                self._servers.backoff(connection.stream.address).failed(time.monotonic())
                raise JobTimeout(f"{connection.stream.address} did not acknowledge a job within {self._timeout} s")
        if isinstance(record.error, ServerError):
            raise refused(record.error, record.function)
        if record.error is not None:
            raise record.error

    def _ask(self, connection: _Connection, request: PacketType, expect: PacketType, name: bytes) -> tuple[bytes, ...]:
        answer = Answer()
        connection.in_doubt = True
        connection.stream.send(connection.session.ask(answer, request, expect, name))
        connection.in_doubt = False
        deadline = _deadline(self._timeout)
        while not answer.is_there:
            if not self._receive_from(connection, deadline):
                raise JobTimeout(f"{connection.stream.address} did not answer within {self._timeout} s")
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
            connection.session.receive(connection.stream.receive())
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


def _take(source: Iterator[BytesLike], room: int) -> tuple[list[BytesLike], bool]:
    """Up to `room` workloads, fewer when they come slowly; and whether that was the end of them."""
    taken: list[BytesLike] = []
    until = time.monotonic() + _TAKE_S
    for workload in source:
        taken.append(workload)
        if len(taken) == room or time.monotonic() >= until:
            return taken, False
    return taken, True


def _prepare(
    function: str,
    unique: str | bytes | None,
    workload: BytesLike,
    priority: Priority | str,
    *,
    background: bool = False,
    epoch: int | None = None,
    reducer: str | None = None,
) -> tuple[SubmittedJob, bytes]:
    if not isinstance(workload, (bytes, bytearray, memoryview)):
        hint = "; encode it first" if isinstance(workload, str) else ""
        raise TypeError(f"a workload is bytes, not {type(workload).__name__}{hint}")
    key = _unique(unique)
    record = SubmittedJob(function, key, background=background)
    packet = submission(
        function.encode("utf-8", "surrogateescape"),
        key,
        workload if isinstance(workload, bytes) else bytes(workload),
        priority=_priority(priority),
        background=background,
        epoch=epoch,
        reducer=reducer.encode() if reducer is not None else None,
    )
    return record, packet


def _priority(priority: Priority | str) -> Priority:
    try:
        return Priority(priority)
    except ValueError:
        raise ConfigError(f"priority: {priority!r} is none; it is high, normal or low") from None


def _unique(unique: str | bytes | None) -> bytes:
    if unique is None:
        return b""
    return unique.encode("utf-8", "surrogateescape") if isinstance(unique, str) else unique


def _epoch(at: When) -> int:
    if isinstance(at, datetime.timedelta):
        seconds = time.time() + at.total_seconds()
    elif isinstance(at, datetime.datetime):
        seconds = at.timestamp()
    else:
        seconds = float(at)
    if not math.isfinite(seconds) or seconds < 0:
        raise ConfigError(f"at: {at!r} is no time from 1970 on")
    return math.ceil(seconds)
