# SPDX-License-Identifier: MIT
"""The engine of a pool: a private server, prefork workers, and who receives what comes.

Tasks go out as pieces, one frame each (`traffic.py`), and what a worker's death costs is settled in `deaths.py`. Whoever
waits for an outcome receives: the thread that needs it where there is one, which then turns the server's loop as well, and
otherwise the collector, a thread of the engine's own.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

from fastgear.config import ServerConfig, SupervisorConfig
from fastgear.cpus import usable_cpus
from fastgear.errors import ConnectionLost, InternalError
from fastgear.pool import ending
from fastgear.pool.callbacks import Callbacks
from fastgear.pool.calls import Calls
from fastgear.pool.child import ChildTask, authkey, main
from fastgear.pool.deaths import Deaths
from fastgear.pool.doorway import Doorway
from fastgear.pool.frame import most_calls
from fastgear.pool.functions import Packer
from fastgear.pool.memory import Memory
from fastgear.pool.pieces import Source
from fastgear.pool.processes import Processes
from fastgear.pool.stats import worker_info
from fastgear.pool.traffic import Traffic
from fastgear.pool.transfer import Transfer
from fastgear.pool.trying import Trying
from fastgear.server.local import Local
from fastgear.server.server import Server
from fastgear.supervisor.launch import launch
from fastgear.threads import check_threads
from fastgear.types import PoolStats

__all__ = ["SHUT_DOWN", "Engine"]

log = logging.getLogger(__name__)

SHUT_DOWN = "cannot schedule new futures after shutdown"

_AREAS = 4  # for each worker, since the dead ones' are needed for a while
_STOP_S = 5.0  # how long killed processes may take to be gone
_REST_S = 0.002  # how long the collector lets a thread that helped go first
_MOMENT_S = 0.001
_NO_LIMIT = 1 << 62


class Engine:
    """Not started until `start`; then to be ended by `close`. All methods may be called from any thread."""

    def __init__(
        self,
        config: SupervisorConfig,
        *,
        start: str = "auto",
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        max_tasks: int = 0,
        retries: int = 0,
        shared_memory: int | None = None,
        finishes: bool = False,
    ) -> None:
        self.workers = config.workers or usable_cpus()
        self.finishes = finishes  # at the end of the program, what it has in hand
        self.lock = threading.RLock()
        self._memory = Memory(_AREAS * self.workers + 4, shared_memory)
        self.transfer = Transfer(self._memory.arena)
        self.packer = Packer(self.transfer)
        self.calls = Calls(self.workers, self.transfer, most_calls(max_tasks))
        self._deaths = Deaths(self._memory, retries)
        self._traffic = self._deaths.traffic = Traffic(self.workers, self.transfer, self._deaths.fall)
        self.callbacks = Callbacks()
        self._config = config
        self._start = start
        self._initializer, self._initargs = initializer, initargs
        self._max_tasks = max_tasks
        self._retries = retries
        self._told = threading.Condition(self.lock)  # by the supervisor, or of a failure
        self._receiving = threading.Lock()  # whoever has it takes what comes
        self._waiters: deque[None] = deque()  # as many as there are threads in `wait`
        self._takes = 0  # how often something that came was dealt with
        self._helped_at = 0.0
        self.collects = False
        self._collector = threading.Thread(target=self._collect, name="fastgear-pool-collector", daemon=True)
        self._closing = False
        self._closes = threading.Lock()  # whoever has it closes
        self._closer = 0  # that thread
        self._pid = ending.process()
        self._refusal: str | None = None  # why no more calls are taken

    # -- life

    @property
    def failure(self) -> BaseException | None:
        """Why nothing works any more."""
        return self._traffic.failure

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that started it, and not a fork of that: threads are not copied."""
        return ending.process() == self._pid

    @property
    def running(self) -> bool:
        return self in ending.open_engines and not self._closing

    def check_process(self) -> None:
        """Raises RuntimeError in a fork."""
        if not self.is_ours:
            raise RuntimeError(
                f"this pool belongs to process {self._pid}, of which this one is a fork; make another one"
            )

    def start(self) -> None:
        """Processes first, then threads, so that the processes can be forked."""
        with contextlib.ExitStack() as undo:
            undo.callback(self._close_memory)
            ending.check()
            check_threads("a pool")
            with contextlib.closing(Doorway()) as doorway:
                self._begin(doorway, undo)
            undo.pop_all()
        ending.open_engines.add(self)

    def _begin(self, doorway: Doorway, undo: contextlib.ExitStack) -> None:
        self._processes = self._deaths.processes = self._launch(doorway)
        undo.callback(self._processes.close)
        self._traffic.areas = self._memory.pool_areas()
        self._server = Server(
            doorway.socket, config=ServerConfig(max_output=_NO_LIMIT, max_packet_size=2**32, job_retries=0)
        )
        self._server.start()
        undo.callback(self._server.stop)
        self._local: Local | ending.Gone = self._server.connect()
        undo.callback(self._forget_server)
        undo.callback(self._local.close)
        self._traffic.send = self._local.send
        self.packer.forked(self._processes.start_method == "fork")
        self._processes.listener.start()

    def _launch(self, doorway: Doorway) -> Processes:
        task = ChildTask(
            doorway.path,
            self._memory,
            self._max_tasks,
            self._retries > 0,
            self._initializer,
            self._initargs,
            authkey=authkey(),
        )
        workers = launch(
            main,
            task,
            config=self._config,
            start=self._start,
            pass_fds=(*self._memory.fds, doorway.fd),
            known_threads=_own_threads(),
        )
        return Processes(workers, self._told, on_death=self._deaths.note, on_tidy=self._tidy, on_end=self._on_end)

    def _tidy(self) -> None:
        with self.lock:
            self._deaths.tidy()

    def _on_end(self, error: BaseException) -> None:
        if not self._closing:
            self._fail(error)

    def close(self, *, kill: bool) -> None:
        """End the workers: at once with `kill`, else as soon as they have finished what they have in hand.

        Somebody else's `close` is waited for; but not by what it waits for itself, which is what is called back meanwhile.
        """
        if not self.is_ours or self._closer == threading.get_ident():
            return
        with Trying(self._closes, 0 if self._is_own_thread() else -1) as ours:
            if ours and self in ending.open_engines:
                self._closer = threading.get_ident()
                try:
                    self._close(kill=kill)
                finally:  # after a KeyboardInterrupt somebody may have to do it again
                    self._closer = 0

    def _close(self, *, kill: bool) -> None:
        with self.lock:
            if self._initializer is not None and not kill:  # which is to have run, even if nothing else has
                self._told.wait_for(lambda: self._processes.ready_total >= self.workers or self.failure is not None)
            self._closing = True
        try:
            if kill:
                self._fail(CancelledError("the pool was ended"))
            self._processes.end(kill=kill or self.failure is not None)
            self._end_server()  # meanwhile; it tells also those to leave that hear no SIGTERM
            self._processes.join(_STOP_S if kill else self._config.drain_s or None)
        finally:  # a KeyboardInterrupt ends the workers now
            self._end()

    def _is_own_thread(self) -> bool:
        return threading.current_thread() in (self._collector, self._processes.listener, self.callbacks.thread)

    def finish(self) -> None:
        """Wait until all is done, and end the workers."""
        while self.is_ours and self.running:
            self.wait(lambda: self._traffic.is_idle)
            with self.lock:
                if not self._traffic.is_idle and self.failure is None:
                    continue
                self._refusal = self._refusal or SHUT_DOWN
            break
        self.close(kill=False)

    def abandon(self) -> None:
        """Nobody can give it work any more: finish what there is, and end, in the background. For finalizers."""
        if self.running and self.is_ours and not sys.is_finalizing():
            threading.Thread(target=self.finish, name="fastgear-pool-abandoned", daemon=True).start()

    def _end_server(self) -> None:
        self._local.close()
        self._server.stop()

    def _end(self) -> None:
        self._processes.close()
        self._end_server()
        if self.collects and self._collector is not threading.current_thread():
            # An interrupt may have cut off its start; if it comes, it finds the end at once.
            with contextlib.suppress(RuntimeError):
                self._collector.join()
        self.callbacks.close()
        self._close_memory()
        ending.open_engines.discard(self)
        self._forget_server()

    def _forget_server(self) -> None:
        """Its memory goes with it."""
        self._local = ending.GONE
        self._traffic.send = self._local.send

    def _close_memory(self) -> None:
        self._traffic.areas = ()
        self._memory.close()

    def _fail(self, error: BaseException) -> None:
        """Nothing will be run any more: all that is under way ends with this."""
        with self.lock:
            self._traffic.fail(error, self._deaths.take_fallen())
            self._told.notify_all()
        self.settle()
        self._local.interrupt()

    # -- out

    def offer(self, source: Source) -> None:
        """There may be something new to send."""
        with self.lock:
            try:
                self._traffic.offer(source)
            except BaseException as error:
                self._cut_off(error)
                raise

    def refuse(self, reason: str) -> None:
        """Take no more calls: `check_open` raises RuntimeError from now on."""
        if self.is_ours:  # in a fork the lock may be somebody's who is not there
            with self.lock:
                self._refusal = reason

    def check_open(self) -> None:
        """Raises RuntimeError when no calls are taken, here or any more."""
        if self._refusal is not None:
            raise RuntimeError(self._refusal)
        self.check_process()

    def cancel_waiting(self) -> None:
        """Cancel the futures of calls that were not sent."""
        if not self.is_ours:
            return
        with self.lock:
            futures = self.calls.cancel_waiting()
        for future in futures:
            future.cancel()
            future.set_running_or_notify_cancel()

    def settle(self) -> None:
        """Give futures their outcomes: not under the lock, nor while receiving."""
        self.calls.settle()

    # -- in

    def wait(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Receive until `done()`, which is asked after everything that comes; False when the time is over before, or all is."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self.check_process()
        self._waiters.append(None)
        try:
            return self._wait(done, deadline)
        finally:
            self._waiters.pop()

    def _wait(self, done: Callable[[], bool], deadline: float | None) -> bool:
        while not done():
            if self.calls.done:  # this may be called by what came together with it
                self.settle()
                continue
            if self._will_not_come():
                return done()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            if self.failure is not None:  # somebody is telling it, and calls back first
                time.sleep(_MOMENT_S)
                continue
            with Trying(self._receiving, 0) as ours:
                if ours:
                    self._receive(self._traffic.patience(left), help=True)
                    self._helped_at = time.monotonic()
            if not ours:
                self._take_over(left)
                continue
            self.settle()
            if len(self._waiters) > 1:
                self.wake()
        return True

    def _will_not_come(self) -> bool:
        """Whether it has ended, or failed and all have been told: but for what a KeyboardInterrupt may have lost."""
        if self.failure is None:
            return self not in ending.open_engines
        with self.lock:
            return not self.calls.done and not self.calls.giving

    def wake(self) -> None:
        """Let those that wait look again: something is done that they may have seen coming, or do not see at all."""
        self._local.interrupt()

    def _take_over(self, timeout: float | None) -> None:
        """Somebody else receives: have him stop for a moment."""
        self._helped_at = time.monotonic()
        self.wake()
        with Trying(self._receiving, 0.05 if timeout is None else min(0.05, timeout)):
            pass

    def _receive(self, timeout: float | None, *, help: bool) -> None:
        try:
            data = self._local.receive(timeout, help)
            if data:
                self._take(data)
                self._takes += 1
            elif time.monotonic() >= self._traffic.look_at:
                with self.lock:
                    self._traffic.look_after_frames()
        except ConnectionResetError:
            if not self._closing:
                self._fail(ConnectionLost("the pool's server has ended"))
        except BaseException as error:
            if self._local.taken != self._takes:
                self._cut_off(error)
            raise

    def _take(self, data: bytes) -> None:
        with self.lock:
            self._traffic.take(data)
        while self._deaths.fallen:
            with self.lock:
                self._deaths.bury()

    def _cut_off(self, error: BaseException) -> None:
        """Nobody knows how far it came with what was to be done. Most often that is a KeyboardInterrupt."""
        kind = InternalError if isinstance(error, Exception) else CancelledError
        self._fail(kind(f"{error!r} has cut off the pool in the middle of its work"))

    def collect(self) -> None:
        """From now on outcomes are taken also while nobody waits for them."""
        with self.lock:
            if not self.collects:
                self.collects = True
                try:
                    self._collector.start()
                except RuntimeError:  # there is no room for a thread now
                    self.collects = False
                    raise

    def _collect(self) -> None:
        while not self._closing:
            if time.monotonic() - self._helped_at < _REST_S:
                time.sleep(_REST_S)
                continue
            with self._receiving:
                self._receive(self._traffic.patience(None), help=False)
            try:
                self.settle()
            except BaseException:
                log.exception("a pool's callback raised")
            if self._waiters:
                self.wake()

    # -- what can be seen

    def stats(self) -> PoolStats:
        """A picture of this moment. Raises RuntimeError in a fork."""
        self.check_process()
        infos = self._processes.infos()
        with self.lock:
            tasks = {area.owner: area.tasks for area in self._traffic.areas}
            return PoolStats(
                workers=tuple(worker_info(info, tasks.get(info.pid, 0)) for info in infos),
                functions=self._traffic.tallies.infos(),
                waiting=len(self.calls),
                under_way=sum(len(piece.tasks) - len(piece.values) for piece in self._traffic.under_way),
                died=self._processes.died_total,
            )


def _own_threads() -> int:
    """Those that may be there at a fork: loops stand still for it, and of the others' locks the child uses none."""
    return sum(thread.name.startswith("fastgear-") for thread in threading.enumerate())
