# SPDX-License-Identifier: MIT
"""The caller's side: start a template process, tell it what to do, hear what happens.

The template is forked where this process has one thread, which takes milliseconds, and a fresh interpreter where it has
others, since a fork would copy their locks. It ends, and its workers with it, when this process does, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NoReturn

from fastgear.config import SupervisorConfig
from fastgear.errors import CannotStart, ConfigError
from fastgear.supervisor.board import Board, WorkerInfo
from fastgear.supervisor.channel import Channel
from fastgear.supervisor.child import flush_streams, standard_streams_taken
from fastgear.supervisor.events import Event, StartFailed, unpack
from fastgear.supervisor.loop import Supervisor
from fastgear.supervisor.signals import handled_signals, signals_blocked
from fastgear.supervisor.template import BOOTSTRAP, Task, process_descriptor, run_template

__all__ = ["Workers", "launch"]

_STOP_S = 10.0
_LAST_BREATH_S = 0.02
_DETAIL = 1000  # characters


def launch(
    main: Callable[..., Any],
    *args: Any,
    config: SupervisorConfig | None = None,
    start: str = "auto",
    report: Callable[[Event], None] | None = None,
    pass_fds: Sequence[int] = (),
    known_threads: int = 0,
) -> Workers:
    """Start `config.workers` processes that call ``main(context, *args)``, and return without waiting for them.

    `start` is "fork", "spawn" (a fresh interpreter) or "auto", which forks where this process has a single thread, apart
    from `known_threads` of which the caller knows that a fork may copy what they hold. A fresh
    interpreter gets `main`, `args` and `report` as a pickle of cloudpickle's, and the descriptors `pass_fds`; a forked one has
    everything. With `report`, events are handed to that callable in the template process instead of being sent here.

    Raises CannotStart where the system has no room for another process.
    """
    if start not in ("auto", "fork", "spawn"):
        raise ConfigError(f"start: {start!r} is not one of auto, fork, spawn")
    fork = start == "fork" or (start == "auto" and _threads() == 1 + known_threads)
    task = Task(main, args, config or SupervisorConfig(), report)
    try:
        with standard_streams_taken():
            return _launch(task, fork, pass_fds)
    except OSError as error:  # no room for another process, or a descriptor
        text = f"the worker processes cannot start: {error.strerror or error}"
        raise CannotStart(text, remote_traceback="") from error


def _launch(task: Task, fork: bool, pass_fds: Sequence[int]) -> Workers:
    board = Board(named=not fork)
    try:
        ours, theirs = Channel.pair()
    except BaseException:
        board.close()
        raise
    caller = process_descriptor()
    try:
        if fork:
            pid, reap = _fork(task.supervisor(board, theirs, caller), ours)
        else:
            pid, reap = _execute(task, (board.fd, theirs.fileno(), caller), pass_fds)
    except BaseException:
        ours.close()
        board.close()
        raise
    finally:
        theirs.close()
        if caller >= 0:
            os.close(caller)
    return Workers(pid, reap, ours, board, "fork" if fork else "spawn")


def _threads() -> int:
    """All threads of this process, also those that Python does not know.

    One that has been joined is there for the system a moment longer, and is waited for.
    """
    deadline = time.monotonic() + _LAST_BREATH_S
    try:
        while (count := len(os.listdir("/proc/self/task"))) > threading.active_count():
            if time.monotonic() > deadline:
                break
            time.sleep(0.0002)
        return count
    except OSError:
        return threading.active_count()


def _fork(supervisor: Supervisor, ours: Channel) -> tuple[int, Callable[[], int]]:
    """All that the template needs is made before, since each page that it writes to after the fork has to be copied."""
    handled = handled_signals()
    flush_streams()
    try:
        with signals_blocked():
            pid = os.fork()
            if pid == 0:
                _become_template(supervisor, ours, handled)
    finally:
        supervisor.close()

    def reap() -> int:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return pid, reap


def _become_template(supervisor: Supervisor, ours: Channel, handled: tuple[int, ...]) -> NoReturn:
    try:
        ours.close()
        run_template(supervisor, handled)
    finally:
        os._exit(1)


def _execute(task: Task, descriptors: tuple[int, ...], pass_fds: Sequence[int]) -> tuple[int, Callable[[], int]]:
    import subprocess

    import cloudpickle  # type: ignore[import-untyped]

    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    with os.fdopen(os.memfd_create("fastgear-task"), "wb") as file:
        pickle.dump((sys.argv, sys.path), file)
        pickle.dump(descriptors, file)
        cloudpickle.dump(task, file)
        file.flush()
        file.seek(0)
        command = [sys.executable, *flags, "-c", BOOTSTRAP, str(file.fileno())]
        fds = (file.fileno(), *(fd for fd in descriptors if fd >= 0), *pass_fds)
        with signals_blocked():  # which the new process inherits, so that a Ctrl-C does not meet it half-way
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=fds)
    return process.pid, process.wait


class Workers:
    """The processes that `launch` started, as their caller sees them. For one thread at a time, and not for a fork of it.

    `fileno()` is readable when there are events; `receive` takes them. A `with` block ends with `close`, which kills what is
    left: `drain` and `wait` first where jobs in hand matter.
    """

    def __init__(self, pid: int, reap: Callable[[], int], channel: Channel, board: Board, start: str) -> None:
        self.pid = pid
        self.start = start
        self.exit_code: int | None = None  # the template's, once it is gone; negative for a signal
        self._reap = reap
        self._channel = channel
        self._board = board
        self._events: deque[Event] = deque()
        _open.add(self)

    def fileno(self) -> int:
        return self._channel.fileno()

    @property
    def running(self) -> bool:
        """Whether the template process lives, as far as `receive`, `wait` and `close` have seen."""
        return self.exit_code is None

    def workers(self) -> tuple[WorkerInfo, ...]:
        """What each of them does now."""
        return () if self.exit_code is not None else self._board.workers()

    # -- what may be asked for; nothing of it waits

    def resize(self, workers: int) -> None:
        """Want so many workers. Those that are too many finish what they have in hand."""
        self._ask("resize", workers)

    def reload(self) -> None:
        """Replace all workers, each after its successor is ready. What `main` imports is new then; what it had before is not."""
        self._ask("reload")

    def kill(self, pid: int, detail: str = "") -> None:
        """Kill one worker; another one takes its place."""
        self._ask("kill", pid, detail[:_DETAIL])

    def drain(self) -> None:
        """Let all workers finish what they have in hand and leave, and the template after them."""
        self._ask("drain")

    def stop(self) -> None:
        """Kill all workers and end."""
        self._ask("stop")

    def _ask(self, *command: Any) -> None:
        if not self._channel.closed:
            self._channel.send(command)

    # -- what happens

    def receive(self, timeout: float | None = 0.0) -> list[Event]:
        """The events so far; when there are none, those that come within `timeout` seconds. Empty, too, at the end."""
        if self.exit_code is None:
            self._read(0.0 if self._events else timeout)
        events = list(self._events)
        self._events.clear()
        return events

    def _read(self, timeout: float | None) -> None:
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        self._channel.flush()
        if poll.poll(None if timeout is None else max(0.0, timeout) * 1000):
            self._events += map(unpack, self._channel.receive())
        if self._channel.closed:
            self._finish()

    def wait_ready(self, workers: int, timeout: float) -> None:
        """Wait until so many workers are ready. Events are kept.

        Raises CannotStart, with the traceback of the worker that is the reason, and TimeoutError.
        """
        deadline = time.monotonic() + timeout
        while sum(worker.ready for worker in self.workers()) < workers:
            if self.exit_code is not None:
                failed = next((event for event in self._events if isinstance(event, StartFailed)), None)
                text = failed.text if failed is not None else f"their supervisor ended with exit code {self.exit_code}"
                raise CannotStart(f"the worker processes cannot start: {text.splitlines()[-1]}", remote_traceback=text)
            self._wait_for_more(deadline)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, after `drain` or `stop`. Returns the exit code; raises TimeoutError. Events are kept."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.exit_code is None:
            self._wait_for_more(deadline)
        return self.exit_code

    def _wait_for_more(self, deadline: float | None) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError("the worker processes took longer than they were given")
        self._read(left)

    def close(self) -> None:
        """Kill what is left, and forget it. Doing so twice is fine."""
        if self.exit_code is None:
            self.stop()
            try:
                self.wait(_STOP_S)
            except TimeoutError:
                os.kill(self.pid, signal.SIGKILL)
                self._finish()
        _open.discard(self)

    def _finish(self) -> None:
        try:
            self.exit_code = self._reap()
        except ChildProcessError:
            self.exit_code = -1  # somebody else has waited for it
        self._channel.close()
        self._board.close()

    def _forget(self) -> None:
        """In a forked child: the processes are the parent's, and a copy of its socket would keep them alive."""
        self.exit_code = -1
        self._channel.close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_open: weakref.WeakSet[Workers] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for workers in list(_open):
        with contextlib.suppress(OSError):
            workers._forget()
    _open.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
