# SPDX-License-Identifier: MIT
"""A connected socket as asyncio's client and worker use it, and the bells that their tasks wait for.

Knows bytes, tasks and time-outs; what the bytes mean is the sessions' business. What is written in one turn of the loop leaves
together, in one call to the system.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from fastgear.addresses import Address
from fastgear.errors import FastgearError
from fastgear.sockets import FULL_S, RECEIVE, broken, cannot_connect, connect_unix, kept, share, tune

__all__ = ["AioStream", "Bell", "connect"]

_FULL = 1 << 16  # as much as waits for the end of a turn; from there on the transport says whether more may be written

Waiter = asyncio.Future[bool]


class Bell:
    """Wakes all tasks that wait for it. Costs nothing while nobody does."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[Waiter] = []

    def ring(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            _release(waiter, True)

    async def wait(self, deadline: float | None = None) -> bool:
        """Until it rings, or until `deadline`, of the loop's time, passes: then False."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await _timed(waiter, deadline)
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)


async def _timed(waiter: Waiter, deadline: float | None) -> bool:
    if deadline is None:
        return await waiter
    timer = asyncio.get_running_loop().call_at(deadline, _release, waiter, False)
    try:
        return await waiter
    finally:
        timer.cancel()


def _release(waiter: Waiter, value: bool) -> None:
    if not waiter.done():
        waiter.set_result(value)


class AioStream(asyncio.BufferedProtocol):
    """One connection, once `connect` has made it: `take` is called with what comes, and `ended` once, with the reason, when it
    is over.

    A FastgearError that `take` raises ends the connection. Of what `take` is given it keeps nothing: the memory is used again.
    """

    def __init__(
        self,
        address: Address,
        take: Callable[[memoryview], object],
        ended: Callable[[FastgearError], object],
    ) -> None:
        self.address = address
        self.is_closed = False
        self.is_over = False  # `ended` has been called, or need not be
        self._take = take
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._incoming = memoryview(bytearray(RECEIVE))
        self._outgoing: list[bytes | bytearray] = []
        self._size = 0
        self._paused = False
        self._released = False
        self._resumed = 0
        self._turns: deque[Waiter] = deque()  # of tasks that want to write
        self._changed = Bell()

    def on(self, sock: socket.socket) -> AioStream:
        """This socket is its own."""
        self._socket = sock
        return self

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._incoming

    def buffer_updated(self, nbytes: int) -> None:
        try:
            if not self.is_over:
                self._take(self._incoming[:nbytes])
        except FastgearError as error:
            self._end(error)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._resumed += 1
        self._next_turn()
        self._changed.ring()

    def eof_received(self) -> None:
        self._end(broken(self.address, None))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._take_rest()
        self._end(broken(self.address, exc))
        self.is_closed = True
        self._changed.ring()

    def _take_rest(self) -> None:
        """Nothing could be sent any more. What has come is still there: a server that turns one away says why, and closes."""
        with contextlib.suppress(OSError):
            while not self.is_over and (size := self._socket.recv_into(self._incoming)):
                self.buffer_updated(size)

    def _end(self, error: FastgearError) -> None:
        is_news = not self.is_over
        self.abort()
        if is_news:
            self._ended(error)

    # -- writing

    def write(self, data: bytes | bytearray) -> None:
        """Have it sent at the end of this turn, or at once where it is much. Nothing happens once the connection is over."""
        if self.is_over:
            return
        if not self._outgoing:
            self._loop.call_soon(self.flush)
        self._outgoing.append(data)
        self._size += len(data)
        if self._size >= _FULL:
            self.flush()

    def flush(self) -> None:
        """Send what waits for the end of this turn."""
        outgoing = self._outgoing
        if outgoing:
            self._transport.write(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))
            outgoing.clear()
            self._size = 0

    @property
    def has_room(self) -> bool:
        """Whether one may write without waiting for one's turn; also when that has no point any more."""
        return self._released or not (self._paused or self._turns)

    async def room(self, deadline: float | None = None) -> bool:
        """Wait for one's turn to write, which lasts until the next `await`; False when the deadline passes."""
        if self.has_room:
            return True
        waiter: Waiter = self._loop.create_future()
        self._turns.append(waiter)
        try:
            return await _timed(waiter, deadline)
        finally:
            if waiter in self._turns:
                self._turns.remove(waiter)
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        if self._turns and (self._released or not self._paused):
            _release(self._turns[0], True)

    def give_up(self, seconds: float, before: tuple[int, int] = (-1, 0)) -> None:
        """From now on, end the connection when for so many seconds nothing leaves of what waits."""
        if self.is_over:
            return
        now = (self._resumed, -self._transport.get_write_buffer_size())
        if now[1] and now <= before:
            self.abort()
        else:
            self._loop.call_later(seconds, self.give_up, seconds, now)

    def release(self) -> None:
        """From now on nobody waits for room."""
        self._released = True
        while self._turns:
            _release(self._turns.popleft(), True)

    # -- reading

    def pause_reading(self) -> None:
        if not self.is_over:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.is_over:
            self._transport.resume_reading()

    # -- the end

    def abort(self) -> None:
        """End it at once, without a call of `ended`. What waits in this process is lost."""
        self.is_over = True
        self._outgoing.clear()
        self._transport.abort()
        self.release()

    async def closed(self) -> None:
        """Wait until the socket is closed, a turn of the loop after the end."""
        while not self.is_closed:
            await self._changed.wait()

    async def finish(self, timeout: float) -> None:
        """Send what waits, say that nothing more comes, and wait for the server's close, so that nothing sent is lost.

        Each of the two has `timeout` seconds, and the first, while it gets on, up to ten times as many.
        """
        self.release()
        self.flush()
        await self._send_all(timeout)
        if not self.is_over:
            self.is_over = True
            self._transport.write_eof()
            await self._until_closed(self._loop.time() + timeout)
        self.abort()
        await self.closed()

    async def _send_all(self, timeout: float) -> None:
        start = self._loop.time()
        deadline = start + timeout
        while not self.is_over and (size := self._transport.get_write_buffer_size()):
            if (now := self._loop.time()) >= min(deadline, start + 10 * timeout):
                return
            await self._changed.wait(min(deadline, now + 0.05))
            if self._transport.get_write_buffer_size() < size:
                deadline = self._loop.time() + timeout

    async def _until_closed(self, deadline: float) -> None:
        while not self.is_closed and await self._changed.wait(deadline):
            pass


async def connect(stream: AioStream, timeout: float | None) -> None:
    """Connect it, within `timeout` seconds. Raises ConnectionLost, naming the address."""
    loop, address = asyncio.get_running_loop(), stream.address
    deadline = None if timeout is None else loop.time() + timeout
    try:
        if address.path is not None:
            with kept(await _connect_unix(address, deadline)) as sock:
                await loop.create_unix_connection(lambda: stream.on(sock), sock=sock)
        else:
            with kept(await _connect_tcp(address, deadline)) as sock:
                await loop.create_connection(lambda: stream.on(sock), sock=sock)
    except (OSError, UnicodeError) as error:  # the latter for a host's name that cannot be one
        raise cannot_connect(address, error) from error
    except asyncio.CancelledError:
        stream.is_over = True  # nobody needs to be told
        raise


async def _connect_unix(address: Address, deadline: float | None) -> socket.socket:
    """Where the listener's queue is full Linux does not wait, so wait here."""
    while True:
        with contextlib.suppress(BlockingIOError):
            return connect_unix(address)
        if _left(deadline) == 0:
            raise TimeoutError
        await asyncio.sleep(FULL_S)


async def _connect_tcp(address: Address, deadline: float | None) -> socket.socket:
    """Try each of the host's addresses, none of them for more than its share of the time that is left."""
    found = await _look_up(address, deadline)
    failure: OSError | None = None
    for number, (family, kind, protocol, _, to) in enumerate(found):
        try:
            with kept(socket.socket(family, kind, protocol)) as sock:
                await _connect_one(sock, to, share(_left(deadline), len(found) - number))
                tune(sock)
                return sock
        except OSError as error:
            failure = error
    raise failure or OSError("the name has no address")


async def _connect_one(sock: socket.socket, to: Any, timeout: float | None) -> None:
    """As loop.sock_connect, with a time-out, and without a task of its own."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect(to)
        return
    waiter: Waiter = loop.create_future()
    loop.add_writer(sock, _release, waiter, True)
    try:
        if not await _timed(waiter, None if timeout is None else loop.time() + timeout):
            raise TimeoutError
    finally:
        loop.remove_writer(sock)
    if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(error, os.strerror(error))


async def _look_up(address: Address, deadline: float | None) -> list[Any]:
    """What is a number needs no asking, and names are asked for in the loop's default executor.

    loop.getaddrinfo is the same, but uvloop's leaves threads behind for ever, beside which no process can fork in safety.
    """
    host, port = address.host or "127.0.0.1", address.port
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    with contextlib.suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    ask = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, ask), _left(deadline))
    except asyncio.TimeoutError:
        raise TimeoutError from None


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())
