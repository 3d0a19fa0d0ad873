# SPDX-License-Identifier: MIT
"""The engine of a pool: a private server, prefork workers, and the traffic between them and the sources of tasks.

Tasks go out as pieces, one frame each. The engine keeps as many frames at the server as there are workers, and as many again
in line behind them, so that no worker waits for Python. Whoever waits for an outcome receives: the thread that needs it where
there is one, which then turns the server's loop as well, and otherwise the collector, a thread of the engine's own.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

from fastgear.config import ServerConfig, SupervisorConfig
from fastgear.cpus import usable_cpus
from fastgear.errors import CannotStart, ConnectionLost, InternalError, ServerError, WorkerDied
from fastgear.pool.area import PoolArea
from fastgear.pool.calls import Calls
from fastgear.pool.child import ChildTask, main
from fastgear.pool.doorway import Doorway
from fastgear.pool.frame import FUNCTION, LAP_BYTES, TRAILER, most_calls
from fastgear.pool.functions import Packer
from fastgear.pool.memory import Memory
from fastgear.pool.outcome import pack_failure
from fastgear.pool.pieces import Piece, Source
from fastgear.pool.stats import worker_info
from fastgear.pool.stealing import area_of, fetch_finished, take_back
from fastgear.pool.tally import Tallies
from fastgear.pool.transfer import Transfer
from fastgear.pool.values import Failure, read_records
from fastgear.protocol.wire import Packet, PacketReader, PacketType, pack_request
from fastgear.server.server import Server
from fastgear.supervisor.events import Died, Ready, Reason, StartFailed
from fastgear.supervisor.launch import Workers, launch
from fastgear.types import PoolStats

__all__ = ["Engine"]

log = logging.getLogger(__name__)

_AREAS = 4  # for each worker, since the dead ones' are needed for a while
_STOP_S = 5.0  # how long killed processes may take to be gone
_EXPLAIN_S = 2.0  # how long the news of a worker's end may take
_REST_S = 0.002  # how long the collector lets a thread that helped go first
_NO_LIMIT = 1 << 62
_UNWANTED = (Reason.CRASHED, Reason.OUT_OF_MEMORY, Reason.TIME_LIMIT)  # ends of workers that nobody asked for
_FOREVER = float("inf")
_TIDY_S = 5.0  # shared memory that was not used for so long is given back
_LOOK_S = 0.02  # a frame is made to take a few milliseconds


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
        self.lock = threading.RLock()
        self.failure: BaseException | None = None  # why nothing works any more
        self._memory = Memory(_AREAS * self.workers + 4, shared_memory)
        self._areas: list[PoolArea] = []
        self.transfer = Transfer(self._memory.arena)
        self.packer = Packer(self.transfer)
        self.calls = Calls(self.workers, self.transfer, most_calls(max_tasks))
        self._later: deque[Callable[[], None]] = deque()
        self._config = config
        self._start = start
        self._initializer, self._initargs = initializer, initargs
        self._max_tasks = max_tasks
        self._retries = retries
        self._finishes = finishes  # at the end of the program, what it has in hand
        self._limit = 2 * self.workers
        self._sources: deque[Source] = deque()  # those that may have something to send
        self._number = 0
        self._submitted: deque[Piece] = deque()  # not acknowledged yet
        self._by_handle: dict[bytes, Piece] = {}
        self._dying: list[
            tuple[Piece, int, int]
        ] = []  # whose workers are dead, their pids, and how many tasks were begun
        self._outstanding = 0
        self._deaths: dict[int, Died] = {}
        self._died_total = 0
        self._tallies = Tallies()
        self._died = threading.Condition(self.lock)
        self._workers_lock = threading.Lock()  # for what is said to the supervisor, and heard of it
        self._receiving = threading.Lock()  # whoever has it takes what comes
        self._waiters: deque[None] = deque()  # as many as there are threads in `wait`
        self._takes = 0  # how often something that came was dealt with
        self._helped_at = 0.0
        self._look_at = _FOREVER  # when frames of many tasks are looked after
        self._collector: threading.Thread | None = None
        self._closing = False
        self._closer = 0  # the thread that closes it
        self._pid = os.getpid()
        self._ready = 0  # how many workers have been

    # -- life

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that started it, and not a fork of that: threads are not copied."""
        return os.getpid() == self._pid

    @property
    def running(self) -> bool:
        return self in _open and not self._closing

    def check_process(self) -> None:
        """Raises RuntimeError in a fork."""
        if not self.is_ours:
            raise RuntimeError(
                f"this pool belongs to process {self._pid}, of which this one is a fork; make another one"
            )

    def start(self) -> None:
        """Processes first, then threads, so that the processes can be forked."""
        if _exiting:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        doorway = Doorway()
        self._reader = PacketReader()
        task = ChildTask(
            doorway.path,
            self._memory,
            self._max_tasks,
            self._retries > 0,
            self._initializer,
            self._initargs,
            authkey=_authkey(),
        )
        with contextlib.closing(doorway), contextlib.ExitStack() as undo:
            undo.callback(self._close_memory)
            self._workers: Workers = launch(
                main,
                task,
                config=self._config,
                start=self._start,
                pass_fds=(*self._memory.fds, doorway.fd),
                known_threads=_own_threads(),
            )
            self._areas = self._memory.pool_areas()
            self._server = Server(
                doorway.socket, config=ServerConfig(max_output=_NO_LIMIT, max_packet_size=2**32, job_retries=0)
            )
            undo.callback(self._workers.close)
            self._server.start()
            undo.pop_all()
        self._local = self._server.connect()
        self.packer.forked(self._workers.start == "fork")
        self._watcher = threading.Thread(target=self._watch, name="fastgear-pool-watcher", daemon=True)
        self._watcher.start()
        _open.add(self)

    def close(self, *, kill: bool) -> None:
        """End the workers: at once with `kill`, else as soon as they have finished what they have in hand."""
        if not self.is_ours:
            return
        if self._closer == threading.get_ident():  # a callback of what this very end has failed
            return
        with self.lock:
            if self._closing:
                self._died.wait_for(lambda: self not in _open)
                return
            self._closer = threading.get_ident()
            if self._initializer is not None and not kill:  # which is to have run, even if nothing else has
                self._died.wait_for(lambda: self._ready >= self.workers or self.failure is not None)
            self._closing = True
        try:
            if kill:
                self._fail(CancelledError("the pool was ended"))
            with self._workers_lock:
                if kill or self.failure is not None:
                    self._workers.stop()
                else:
                    self._workers.drain()
            self._local.close()
            self._server.stop()  # while the processes end; it tells also those to leave that hear no SIGTERM
            self._watcher.join(_STOP_S if kill else self._config.drain_s or None)
        finally:  # a KeyboardInterrupt ends the workers now
            self._end()

    def _end(self) -> None:
        with self._workers_lock:
            self._workers.close()
        self._watcher.join()
        if self._collector is not None and self._collector is not threading.current_thread():
            self._collector.join()
        del self._local  # with which the server's memory goes
        self._close_memory()
        with self.lock:
            _open.discard(self)
            self._died.notify_all()

    def _close_memory(self) -> None:
        self._areas = []
        self._memory.close()

    def _fail(self, error: BaseException) -> None:
        """Nothing will be run any more: all that is under way ends with this."""
        with self.lock:
            self.failure = self.failure or error
            pieces = [*self._submitted, *self._by_handle.values(), *(dying[0] for dying in self._dying)]
            self._submitted.clear()
            self._by_handle.clear()
            self._dying.clear()
            self._outstanding = 0
            for source in self._sources:
                while (piece := source.next_piece()) is not None:
                    pieces.append(piece)
            self._sources.clear()
            for piece in pieces:
                self._deliver_failure(piece, error)
            self._died.notify_all()
        self.settle()
        self._local.interrupt()

    def cancel_waiting(self) -> None:
        """Cancel the futures of calls that were not sent."""
        with self.lock:
            futures = self.calls.cancel_waiting()
        for future in futures:
            future.cancel()
            future.set_running_or_notify_cancel()

    def later(self, act: Callable[[], None]) -> None:
        """Do it when the lock is free again."""
        self._later.append(act)

    def settle(self) -> None:
        """Give futures their outcomes, and run their callbacks: not under the lock, nor while receiving."""
        self.calls.settle()
        while self._later:
            with contextlib.suppress(IndexError):
                self._later.popleft()()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, and nothing waits to be sent."""
        return not self._outstanding and not self._sources

    # -- out

    def offer(self, source: Source) -> None:
        """There may be something new to send."""
        with self.lock:
            try:
                if source not in self._sources:
                    self._sources.append(source)
                self._pump()
            except BaseException as error:
                self._cut_off(error)
                raise

    def _pump(self) -> None:
        while self._outstanding < self._limit and self._sources:
            if self.failure is not None:
                self._fail(self.failure)
                return
            source = self._sources[0]
            piece = source.next_piece()
            if piece is None:
                self._sources.popleft()
            else:
                self._sources.rotate(-1)
                self._send(piece)

    def _send(self, piece: Piece) -> None:
        self._number = self._number % 0x7FFFFFFF + 1
        piece.number = self._number
        try:
            frame = piece.source.pack(piece)
        except Exception as error:
            self._find_culprit(piece, error)
            return
        self._submitted.append(piece)
        self._outstanding += 1
        if len(piece.tasks) > 1 and self._look_at == _FOREVER:
            self._look_at = time.monotonic() + _LOOK_S
        self._local.send(pack_request(PacketType.SUBMIT_JOB, FUNCTION, b"", frame))

    def _find_culprit(self, piece: Piece, error: Exception) -> None:
        """Something in the piece cannot be pickled: halve it until that stands alone."""
        if len(piece.tasks) == 1:
            self._deliver_failure(piece, error)
            return
        half = piece.split(len(piece.tasks) // 2)
        self._send_again(piece)
        self._send_again(half)

    # -- in

    def wait(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Receive until `done()`, which is asked after everything that comes; False when the time is over before."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self.check_process()
        self._waiters.append(None)
        try:
            return self._wait(done, deadline)
        finally:
            self._waiters.pop()

    def _wait(self, done: Callable[[], bool], deadline: float | None) -> bool:
        while not done():
            if self not in _open:  # it has ended
                return done()
            if self.calls.unsettled or self._later:  # this may be a callback of something that came together with it
                self.settle()
                continue
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            if self._receiving.acquire(blocking=False):
                try:
                    self._receive(self._patience(left), help=True)
                finally:
                    self._helped_at = time.monotonic()
                    self._receiving.release()
                self.settle()
                if len(self._waiters) > 1:
                    self.wake()
            else:
                self._take_over(left)
        return True

    def wake(self) -> None:
        """Let those that wait look again: something is done that they may have seen coming, or do not see at all."""
        with contextlib.suppress(AttributeError):  # closed
            self._local.interrupt()

    def _take_over(self, timeout: float | None) -> None:
        """Somebody else receives: have him stop for a moment."""
        self._helped_at = time.monotonic()
        self._local.interrupt()
        if self._receiving.acquire(timeout=0.05 if timeout is None else min(0.05, timeout)):
            self._receiving.release()

    def _receive(self, timeout: float | None, *, help: bool) -> None:
        try:
            data = self._local.receive(timeout, help)
            if data:
                self._take(data)
                self._takes += 1
            elif time.monotonic() >= self._look_at:
                self._look_after_frames()
        except ConnectionResetError:
            if not self._closing:
                self._fail(ConnectionLost("the pool's server has ended"))
        except BaseException as error:
            if self._local.taken != self._takes:
                self._cut_off(error)
            raise

    def _cut_off(self, error: BaseException) -> None:
        """What was to be done was begun, and nobody knows how far it came. Most often that is a KeyboardInterrupt."""
        kind = InternalError if isinstance(error, Exception) else CancelledError
        self._fail(kind(f"{error!r} has cut off the pool in the middle of its work"))

    def _patience(self, timeout: float | None) -> float | None:
        """How long to wait for news before frames of many tasks are looked after."""
        if self._look_at == _FOREVER:
            return timeout
        soon = max(0.0, self._look_at - time.monotonic())
        return soon if timeout is None else min(soon, timeout)

    def collect(self) -> None:
        """From now on outcomes are taken also while nobody waits for them."""
        if self._collector is None:
            self._collector = threading.Thread(target=self._collect, name="fastgear-pool-collector", daemon=True)
            self._collector.start()

    def _collect(self) -> None:
        while not self._closing:
            if time.monotonic() - self._helped_at < _REST_S:
                time.sleep(_REST_S)
                continue
            with self._receiving:
                self._receive(self._patience(None), help=False)
            try:
                self.settle()
            except BaseException:
                log.exception("a pool's callback raised")
            if self._waiters:
                self.wake()

    def _take(self, data: bytes) -> None:
        with self.lock:
            for packet in self._reader.feed(data) if self.failure is None else ():
                self._take_packet(packet)
            self._pump()
        while self._dying:
            self._bury()

    def _look_after_frames(self) -> None:
        """Those of many tasks that are out for long: fetch what they have finished, and let idle workers help them."""
        with self.lock:
            self._look_at = _FOREVER
            idle = self.workers - self._outstanding
            for piece in [piece for piece in self._by_handle.values() if len(piece.tasks) > 1]:
                self._look_at = time.monotonic() + _LOOK_S
                area = area_of(self._areas, piece)
                if area is None:
                    continue
                fetch_finished(area, piece, self._deliver_fetched)
                if idle > 0 and not self._sources:
                    for part in take_back(area, piece, idle + 1):
                        self._send_again(part)
                        idle -= 1
                piece.is_late = True
            self._pump()

    def _deliver_fetched(self, piece: Piece, records: bytes) -> None:
        values: list[Any] = []
        failures = read_records(records, 0, len(records), values, self.transfer.unpack_outcome)
        self._deliver(piece, values, failures > 0)

    def _take_packet(self, packet: Packet) -> None:
        kind = packet.type
        if kind is PacketType.JOB_CREATED:
            self._by_handle[packet.args[0]] = self._submitted.popleft()
        elif kind is PacketType.WORK_COMPLETE:
            self._complete(self._by_handle.pop(packet.args[0]), packet.args[1])
        elif kind is PacketType.WORK_DATA:
            piece = self._by_handle[packet.args[0]]
            self._deliver_records(piece, packet.args[1])
            piece.flushed, piece.seen_bytes = len(piece.values), 0
        elif kind is PacketType.WORK_FAIL:
            piece = self._by_handle.pop(packet.args[0])
            self._dying.append((piece, *self._recover(piece)))  # before the supervisor's word frees the area
        elif kind is PacketType.ERROR:
            error = ServerError(*(argument.decode("utf-8", "replace") for argument in packet.args))
            piece = self._submitted.popleft()
            self._outstanding -= 1
            self._deliver_failure(piece, error)

    def _complete(self, piece: Piece, result: bytes) -> None:
        self._outstanding -= 1
        piece.leases = None
        end = len(result) - TRAILER.size
        elapsed, laps = TRAILER.unpack_from(result, end)
        end -= laps * LAP_BYTES
        received = self.transfer.received
        self._deliver_records(piece, result, end)
        piece.source.sizer.measured(len(piece.values), elapsed)
        if self.transfer.received > received:
            piece.source.sizer.weighed(len(piece.values), self.transfer.received - received)
        if laps:
            self._tallies.take(piece.source, piece.tasks, result, end, laps)
        elif piece.tasks:  # else all were taken back before the first was begun
            self._tallies.take_one(piece.source, piece.tasks[0], elapsed)
        if not piece.is_whole:  # the frame could not be begun, and its only record says why
            self._deliver(piece, [piece.values[-1]] * (len(piece.tasks) - len(piece.values)), True)

    def _deliver_records(self, piece: Piece, records: bytes, end: int | None = None) -> None:
        """The records up to `end`, but for those that were fetched ahead."""
        values: list[Any] = []
        end = len(records) if end is None else end
        failures = read_records(records, piece.seen_bytes, end, values, self.transfer.unpack_outcome)
        self._deliver(piece, values, failures > 0)

    def _deliver(self, piece: Piece, values: list[Any], failed: bool) -> None:
        start = len(piece.values)
        piece.values += values
        piece.has_failure = piece.has_failure or failed
        piece.source.advance(piece, start)

    def _deliver_failure(self, piece: Piece, error: BaseException, most: int = 1 << 62) -> None:
        """For the tasks that have no outcome yet, or the first so many of them."""
        count = min(most, len(piece.tasks) - len(piece.values))
        self._deliver(piece, [Failure(pack_failure(error))] * count, True)

    def _send_again(self, piece: Piece) -> None:
        piece.source.push_back(piece)
        if piece.source not in self._sources:
            self._sources.append(piece.source)

    # -- deaths

    def _watch(self) -> None:
        """A thread of its own, since the supervisor's word may come while nothing else does."""
        poll = select.poll()
        poll.register(self._workers, select.POLLIN)
        running = True
        while running:
            poll.poll(_TIDY_S * 1000)
            self._tidy()
            with self._workers_lock:
                events = self._workers.receive()
                running = self._workers.running
            for event in events:
                if isinstance(event, Died):
                    self._note_death(event)
                elif isinstance(event, StartFailed):
                    self._start_failed = event
                elif isinstance(event, Ready):
                    self._note_ready()
        if not self._closing:
            self._fail(self._explain_end())

    _start_failed: StartFailed | None = None

    def _explain_end(self) -> BaseException:
        if self._start_failed is not None:
            text = self._start_failed.text
            return CannotStart(f"the pool's workers cannot start: {text.splitlines()[-1]}", remote_traceback=text)
        return CannotStart("the pool's supervisor has ended", remote_traceback="")

    def _note_ready(self) -> None:
        with self.lock:
            self._ready += 1
            self._died.notify_all()

    def _note_death(self, event: Died) -> None:
        with self.lock:
            self._deaths[event.pid] = event
            self._died_total += event.reason in _UNWANTED
            for area in self._areas:
                if area.owner == event.pid and not self._is_under_way(area.frame):
                    self._clear(area)
            while len(self._deaths) > 1000:
                del self._deaths[next(iter(self._deaths))]
            self._died.notify_all()

    def _is_under_way(self, number: int) -> bool:
        return number != 0 and number in self._numbers_under_way()

    def _clear(self, area: PoolArea) -> None:
        self._memory.clear_area(area, self._areas.index(area), self._numbers_under_way())

    def _numbers_under_way(self) -> Iterator[int]:
        return (piece.number for piece in (*self._by_handle.values(), *self._submitted))

    def _tidy(self) -> None:
        now = time.monotonic()
        if now >= self._tidied_at + _TIDY_S:
            self._tidied_at = now
            with self.lock:
                self._memory.tidy(self._numbers_under_way())

    _tidied_at = 0.0

    def _bury(self) -> None:
        """A worker is gone: name the task that it was at, and run the others elsewhere."""
        with self.lock:
            if not self._dying:  # all has failed meanwhile
                return
            piece, pid, begun = self._dying.pop(0)
            self._outstanding -= 1
            piece.leases = None
            finished = len(piece.values)
            if finished == len(piece.tasks):
                return
            if begun > finished:
                if piece.attempts < self._retries:
                    rest = piece.split(finished) if finished else piece
                    if len(rest.tasks) > 1:
                        self._send_again(rest.split(1))
                    rest.attempts = piece.attempts + 1
                    self._send_again(rest)
                    self._pump()
                    return
                if begun < len(piece.tasks):
                    self._send_again(piece.split(begun))
            elif not self._is_to_blame(piece, finished):
                self._pump()
                return
            self._pump()
            error = self._obituary(pid, piece.source.describe(piece.tasks[finished], begun=begun > finished))
            self._deliver_failure(piece, error, 1)

    def _is_to_blame(self, piece: Piece, finished: int) -> bool:
        """The worker had begun none of the tasks that are left. By chance; or it died of what it unpickled for one of them,
        which is found by halves. True when a single one is left, whose workers die each time."""
        rest = piece.split(finished) if finished else piece
        rest.deaths += 1
        if rest.deaths > max(1, self._retries):
            if rest is piece and len(rest.tasks) == 1:
                return True
            if len(rest.tasks) > 1:
                half = rest.split(len(rest.tasks) // 2)
                half.deaths = rest.deaths = max(1, self._retries)
                self._send_again(half)
        self._send_again(rest)
        return False

    def _recover(self, piece: Piece) -> tuple[int, int]:
        """Take what the dead worker has left in its area; its pid, and how many tasks it had begun."""
        for area in self._areas:
            if area.frame == piece.number:
                pid, begun = area.owner, area.claimed
                left = area.look(piece.number)
                if left is not None and left[0] == piece.flushed:
                    self._deliver_records(piece, left[1])
                if pid in self._deaths:
                    self._clear(area)
                return pid, begun
        return 0, 0

    def _obituary(self, pid: int, task: str) -> WorkerDied:
        """Waits for the supervisor's word, which comes a moment after the server's."""
        deadline = time.monotonic() + _EXPLAIN_S
        while pid not in self._deaths and self.failure is None and time.monotonic() < deadline:
            self._died.wait(deadline - time.monotonic())
        died = self._deaths.get(pid)
        how = str(died).partition(": ")[2] if died is not None else "nobody knows how"
        return WorkerDied(
            f"worker process {pid} died while it ran {task}: {how}",
            pid=pid,
            exit_code=died.exit_code if died is not None else None,
            task=task,
        )

    # -- what can be seen

    def stats(self) -> PoolStats:
        """A picture of this moment."""
        with self._workers_lock:
            infos = self._workers.workers()
        with self.lock:
            tasks = {area.owner: area.tasks for area in self._areas}
            pieces = (*self._submitted, *self._by_handle.values())
            return PoolStats(
                workers=tuple(worker_info(info, tasks.get(info.pid, 0)) for info in infos if info.ready),
                functions=self._tallies.infos(),
                waiting=len(self.calls),
                under_way=sum(len(piece.tasks) - len(piece.values) for piece in pieces),
                died=self._died_total,
            )

    def abandon(self) -> None:
        """Nobody can give it work any more: finish what there is, and end, in the background. For finalizers."""
        if self.running and self.is_ours and not sys.is_finalizing():
            threading.Thread(target=self.finish, name="fastgear-pool-abandoned", daemon=True).start()

    def finish(self) -> None:
        """Wait until all is done, and end the workers."""
        if self.is_ours:
            self.wait(lambda: self.is_idle)
            self.close(kill=False)


_open: set[Engine] = set()


_exiting = False


@atexit.register
def _at_exit() -> None:
    """End those that are left, some after they have finished; but not those after a KeyboardInterrupt that nobody has caught."""
    global _exiting
    _exiting = True
    interrupted = issubclass(getattr(sys, "last_type", None) or object, KeyboardInterrupt)
    try:
        for engine in list(_open):
            if engine._finishes and not interrupted:
                engine.finish()
    finally:
        for engine in list(_open):
            engine.close(kill=True)


def _authkey() -> bytes | None:
    """multiprocessing's, in a program that uses it. A copy, since the original refuses to be pickled."""
    process = sys.modules.get("multiprocessing.process")
    return bytes(process.current_process().authkey) if process is not None else None


def _own_threads() -> int:
    """Those that may be there at a fork: loops stand still for it, and of the others' locks the child uses none."""
    return sum(thread.name.startswith("fastgear-") for thread in threading.enumerate())
