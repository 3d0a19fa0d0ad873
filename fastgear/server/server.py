# SPDX-License-Identifier: MIT
"""The job server as an object: started on a thread of its own, asked and stopped from any other.

Holds the life cycle; what runs meanwhile is `loop`, and what it decides is `fastgear.core`. The loop thread does not hold
the GIL between start and stop, so the program around it may.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import threading
import time
import weakref
from dataclasses import replace
from types import TracebackType

from fastgear.config import ServerConfig
from fastgear.protocol.replies import parse_counters, parse_status, parse_workers
from fastgear.server.changes import restore
from fastgear.server.descriptors import make_room
from fastgear.server.listen import Listener, listen_on
from fastgear.server.local import Local
from fastgear.server.loop import Loop
from fastgear.server.writer import Writer, open_store, put_aside, stored_jobs, take_over
from fastgear.storage.store import Store
from fastgear.threads import SystemThread
from fastgear.types import ServerSnapshot
from fastgear.version import VERSION

_EPOCH_2020_US = 1_577_836_800_000_000
_FOREVER_S = 9e9


class Server:
    """A Gearman job server inside this process.

    `listen` are addresses as `ServerConfig.listen` has them, port numbers (of 127.0.0.1), or socket objects, which are
    duplicated; they take the place of the configuration's. `store` is one of your own, in the place of the file that the
    configuration names; the server closes it when it stops. Creating a server starts nothing; `start` or a `with` block
    does. Port 0 picks a free one, see `address`.

    `start`, `stop`, `command` and `snapshot` may be called from any thread. After a fork the child's copy is stopped and
    its descriptors are closed; the parent's goes on.

    >>> with Server("127.0.0.1:0") as server:
    ...     server.command("status")
    '.\\n'
    """

    def __init__(
        self, *listen: str | int | socket.socket, config: ServerConfig | None = None, store: Store | None = None
    ) -> None:
        self.config = config or ServerConfig()
        self._given_store = store
        self._listen = listen or self.config.listen
        if all(isinstance(address, str) for address in self._listen):
            self.config = replace(self.config, listen=tuple(str(address) for address in self._listen))
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._loop: Loop | None = None
        self._thread: SystemThread | None = None
        self._writer: Writer | None = None

    # -- life cycle

    def start(self) -> None:
        """Listen, take the jobs that are stored, and serve.

        Raises OSError or ConfigError, naming the address, or StoreError, when that is not possible.
        """
        with self._lock:
            if self._loop is not None:
                raise RuntimeError("this server runs already")
            with contextlib.ExitStack() as undo:
                self._listeners = listen_on(self._listen, self.config)
                undo.callback(self._forget)
                make_room(next((listener.socket.fileno() for listener in self._listeners), 0))
                self._loop = self._make_loop()
                if self._writer is not None:
                    undo.callback(self._writer.close)
                self._thread = SystemThread(self._loop.run, "fastgear-server")
                _running.add(self)
                self._thread.start()
                if self._writer is not None:
                    undo.callback(self._thread.join)
                    undo.callback(self._loop.stop, 0.0)
                    self._writer.start()
                undo.pop_all()

    def _make_loop(self) -> Loop:
        first_number = max(1, (time.time_ns() // 1000 - _EPOCH_2020_US) * 16)  # the clock may never have been set
        store = self._given_store or open_store(self.config, first_number)
        if store is None:
            loop = self._empty_loop(self._own_prefix, first_number)
        else:
            loop = self._durable_loop(store, first_number)
        for listener in self._listeners:
            loop.listen(listener.socket.detach())
        loop.open()
        return loop

    def _durable_loop(self, store: Store, first_number: int) -> Loop:
        """With the jobs of the store in it, under the handles that they had."""
        try:
            prefix = self._own_prefix if self.config.handle_prefix else store.prefix or self._own_prefix
            if prefix != store.prefix:
                store.remember_prefix(prefix)
            take_over(store, max(first_number, store.last_number + 1))
            loop = self._empty_loop(prefix, max(first_number, store.last_number + 1), durable=True)
            impossible = [one for jobs in stored_jobs(store, self.config) for one in restore(loop, jobs)]
            put_aside(store, impossible)
            self._writer = Writer(loop, store, waits_for_all=self.config.durability == "on-shutdown")
        except BaseException:
            store.close()
            raise
        return loop

    @property
    def _own_prefix(self) -> str:
        return (self.config.handle_prefix or f"H:{socket.gethostname()}")[:41] + ":"

    def _empty_loop(self, prefix: str, first_number: int, *, durable: bool = False) -> Loop:
        return Loop(
            self.config,
            prefix.encode(),
            VERSION.encode(),
            self.config.verbose.encode(),
            os.urandom(16),
            first_number,
            durable,
        )

    def stop(self, drain: float | None = None) -> None:
        """Stop serving; doing so twice is fine.

        With `drain`, submissions are refused from now on and the server goes on until no job is queued or running, but
        no longer than so many seconds (`float("inf")` for as long as it takes). Jobs that are left are lost, but for those
        that are stored, for which the store gets up to ten seconds, and then twelve to close. Answers under way may still
        arrive, as long as they get on: until the drain's time is over, and for two seconds after that.

        May be called again meanwhile, from another thread or after an exception of a signal handler has come out of it;
        the earliest end counts. Raises StoreLost, once the server has stopped, when jobs that were to be stored at its end
        could not be.
        """
        with self._lock:
            loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        loop.stop(min(drain or 0.0, _FOREVER_S))
        thread.join()
        with self._lock:
            if self._loop is loop:
                writer = self._writer
                if writer is not None:
                    writer.join()
                self._forget()
                if writer is not None and writer.failure is not None:
                    raise writer.failure

    def _forget(self) -> None:
        _running.discard(self)
        for listener in self._listeners:
            listener.close()
        self._loop = self._thread = self._writer = None
        self._listeners = []

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def connect(self) -> Local:
        """A connection of this process, without a socket. Raises RuntimeError when not running."""
        loop = self._loop
        if loop is None:
            raise RuntimeError("this server is not running; start it first")
        return Local(loop)

    # -- questions

    @property
    def running(self) -> bool:
        """Whether its loop runs, in this process."""
        return self._loop is not None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, as clients write it; empty when it is not running."""
        return tuple(listener.address for listener in self._listeners)

    @property
    def address(self) -> str:
        """The first of `addresses`. Raises RuntimeError when the server is not running."""
        addresses = self.addresses
        if not addresses:
            raise RuntimeError("this server is not running; start it first")
        return addresses[0]

    def command(self, line: str) -> str:
        """The reply to a text command, as a client on the wire would get it. Raises RuntimeError when not running."""
        loop = self._loop
        reply = loop.command(line.rstrip("\r\n").encode() + b"\n") if loop is not None else None
        if reply is None:
            raise RuntimeError("this server is not running; start it first")
        return reply.decode(errors="surrogateescape")

    def snapshot(self) -> ServerSnapshot:
        """Functions, connections and counters, each list as of one moment. Raises RuntimeError when not running."""
        loop = self._loop
        counters = parse_counters(self.command("counters"))
        return ServerSnapshot(
            functions=tuple(parse_status(self.command("status"))),
            connections=tuple(parse_workers(self.command("workers"))),
            counters=counters | (loop.counters() if loop is not None else {}),
        )

    def __repr__(self) -> str:
        return f"<fastgear.Server {'on ' + ', '.join(self.addresses) if self.running else 'stopped'}>"


# -- fork: the loops stand still while the process is copied, so that the child finds their lists whole -----------------

_running: weakref.WeakSet[Server] = weakref.WeakSet()
_fork_lock = threading.Lock()
_paused: list[tuple[Server, Loop]] = []
_inherited: list[Writer | None] = []


def _before_fork() -> None:
    _fork_lock.acquire()
    for server in list(_running):
        loop = server._loop
        if loop is not None and loop.pause():
            _paused.append((server, loop))


def _after_fork_in_parent() -> None:
    for _, loop in _paused:
        loop.resume()
    _paused.clear()
    _fork_lock.release()


def _after_fork_in_child() -> None:
    for server, loop in _paused:
        loop.forget()
        _inherited.append(server._writer)  # a database that is open in the parent must not even be closed here
        server._lock = threading.Lock()
        server._listeners = []  # their files are the parent's to remove
        server._forget()
    _paused.clear()
    _fork_lock.release()


@atexit.register
def _stop_those_that_write_at_their_end() -> None:
    """A program that ends without a stop; with any other durability, all that was acknowledged is written."""
    for server in list(_running):
        if server.config.durability == "on-shutdown":
            server.stop()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
