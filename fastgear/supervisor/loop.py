# SPDX-License-Identifier: MIT
"""The supervising loop. It runs in a process that has one thread, so that it may fork at any time.

It sleeps until a signal, a command, a worker's report or a limit that is due; with no limits set it sleeps for as long as
nothing happens. A turn: kill what is over its time, start and retire workers, wait, read what has come, reap.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from fastgear.config import SupervisorConfig
from fastgear.cpus import usable_cpus
from fastgear.supervisor.board import SLOTS, Board
from fastgear.supervisor.channel import Channel
from fastgear.supervisor.child import FAILED, LIMIT, READY, standard_streams_taken
from fastgear.supervisor.crew import Crew
from fastgear.supervisor.events import Died, Event, Ready, Reason, Started, StartFailed, pack
from fastgear.supervisor.limits import Limits
from fastgear.supervisor.memory import OomCount
from fastgear.supervisor.policy import FOREVER, Child, Pauses, surge
from fastgear.supervisor.signals import SignalPipe, block_signals

__all__ = ["Supervisor"]

log = logging.getLogger(__name__)

_QUIET_S = 0.05  # without any event, before things that can wait are done
_COMMANDS = frozenset({"resize", "reload", "drain", "stop", "kill"})


class Supervisor:
    """Keeps `config.workers` processes alive, each of which calls ``main(context, *args)``.

    `run` works until it is told to end: SIGTERM or SIGINT lets workers finish what they have in hand, a second one ends at
    once; SIGHUP replaces all workers, and SIGTTIN and SIGTTOU want one more or one less. With `commands`, the other end of the
    channel may ask for the same, and its closing, or the end of the process that `caller` (a pidfd) stands for, ends at once.
    `report` is called with each event, in the loop; without it they are sent through the channel.
    """

    def __init__(
        self,
        main: Callable[..., Any],
        args: tuple[Any, ...] = (),
        config: SupervisorConfig | None = None,
        *,
        report: Callable[[Event], None] | None = None,
        board: Board | None = None,
        commands: Channel | None = None,
        caller: int = -1,
    ) -> None:
        self.config = config or SupervisorConfig()
        self.board = board or Board()
        self.failure: StartFailed | None = None  # what ended it, if that was a worker that cannot start
        self._commands, self._caller = commands, caller
        self._report = report or (self._send if commands is not None else None)
        self.wanted = self.config.workers or usable_cpus()  # how many workers there are to be
        with standard_streams_taken():
            self._crew = Crew(main, args, self.config, board=self.board, in_child=self._close_in_worker)
            try:
                self._signals = SignalPipe()
            except BaseException:
                self._crew.close()
                raise
        self._limits = Limits(self.config, self._crew, self.board)
        self._pauses = Pauses(self.config.backoff_s)
        self._ending = False
        self._told = False  # by a signal
        self._exit_code = 0
        self._oom: OomCount | None = None

    def run(self) -> int:
        """Until the end; returns an exit code.

        0 after workers have left as they should, 1 when some had to be killed or could not start, 128 and a signal's number
        when it was to be at once.
        """
        self._crew.open()
        gc.freeze()  # what is here now is shared with the workers, and their collectors had better not touch it
        block_signals()
        self._start(self.wanted, time.monotonic())  # first, see Crew._fork
        self._signals.open()
        try:
            while self._turn():
                pass
        finally:
            self._crew.kill_all(Reason.STOPPED)
            while self._crew:
                self._wait(None)
                self._reap()
            self._signals.restore()
            self.close()
        if self._commands is not None:
            self._commands.finish()
        return self._exit_code

    def close(self) -> None:
        """Close what `run` uses: in this process only, and not for another run."""
        self._signals.close()
        self._crew.close()

    def _close_in_worker(self) -> None:
        self._signals.close()
        if self._commands is not None:
            self._commands.close()
        if self._caller >= 0:
            os.close(self._caller)

    def _turn(self) -> bool:
        now = time.monotonic()
        if self._limits.enforce(now) and self._ending:
            self._exit_code = self._exit_code or 1  # somebody was cut off
        if not self._ending:
            self._keep(now)
        elif not self._crew:
            return False
        pauses = (self._pauses.until,) if self._pauses.until > now and not self._ending else ()
        self._wait(self._limits.next_at(pauses, self._ending))
        self._take_signals()
        self._take_commands()
        self._reap()
        return True

    # -- waiting

    def _wait(self, until: float | None) -> None:
        if self._oom is None:
            until = min(until or FOREVER, time.monotonic() + _QUIET_S)
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        poll.register(self._crew, select.POLLIN)
        if self._commands is not None:
            self._commands.flush()
            poll.register(self._commands, select.POLLIN | (select.POLLOUT if self._commands.waiting else 0))
        if self._caller >= 0:
            poll.register(self._caller, select.POLLIN)
        timeout = None if until is None else max(0.0, until - time.monotonic()) * 1000
        ready = poll.poll(timeout)
        if not ready and self._oom is None:
            self._oom = OomCount()  # in a quiet moment: reading it takes as long as a fork
        if any(fd == self._caller for fd, _ in ready):
            self._lose_caller()

    # -- what comes in

    def _take_signals(self) -> None:
        for number in self._signals.take():
            if number in (signal.SIGTERM, signal.SIGINT):
                if self._told:
                    self.stop(128 + number)
                self._told = True
                self.drain()
            elif number == signal.SIGHUP:
                self.reload()
            elif number == signal.SIGTTIN:
                self.resize(self.wanted + 1)
            elif number == signal.SIGTTOU:
                self.resize(max(1, self.wanted - 1))

    def _take_commands(self) -> None:
        if self._commands is None:
            return
        for name, *args in self._commands.receive():
            assert name in _COMMANDS
            getattr(self, name)(*args)
        if self._commands.closed:
            self._lose_caller()

    def _lose_caller(self) -> None:
        self._caller, self._commands, self._report = -1, None, None
        self.stop(1)

    def _take_report(self, child: Child, kind: bytes, text: str) -> None:
        if kind == READY:
            child.ready = True
            self._tell(Ready(child.record.slot, child.pid, child.generation))
        elif kind == LIMIT:
            child.due = child.due or Reason.MAX_JOBS
        elif kind == FAILED:
            error_class, _, sentence = text.partition("\n")
            child.failure = (error_class, sentence)

    # -- what may be asked for

    def resize(self, workers: int) -> None:
        """Want so many workers from now on. Those that are too many finish what they have in hand."""
        self.wanted = max(0, min(workers, SLOTS // 2))

    def reload(self) -> None:
        """Replace all workers, each after its successor is ready. When the new ones cannot start, the old ones stay."""
        self._pauses.forget()
        for child in self._crew:
            child.due = Reason.RELOADED

    def drain(self) -> None:
        """Let workers finish what they have in hand, and end when they have left."""
        if not self._ending:
            self._ending = True
            for child in self._crew:
                self._crew.retire(child, Reason.STOPPED)

    def stop(self, exit_code: int = 0) -> None:
        """Kill the workers, and end."""
        self._ending = True
        self._exit_code = self._exit_code or exit_code
        self._crew.kill_all(Reason.STOPPED)

    def kill(self, pid: int, detail: str = "") -> None:
        """Kill one worker; another one takes its place. Nothing happens when it is gone already."""
        child = self._crew.get(pid)
        if child is not None and not child.killed:
            child.detail = detail
            self._crew.kill(child, Reason.KILLED)

    # -- starting and retiring

    def _keep(self, now: float) -> None:
        """Start what is missing, a few more than wanted while some are to be replaced, and let go what is too many."""
        serving = [child for child in self._crew if child.serving]
        due = [child for child in serving if child.due is not None]
        fresh = [child for child in serving if child.due is None]
        most = self.wanted + (surge(self.wanted) if due else 0)
        if now >= self._pauses.until:
            self._start(min(self.wanted - len(fresh), most - len(serving)), now)
        capacity = len(due) + sum(child.ready for child in fresh)
        for child in sorted(due, key=lambda child: (child.ready, child.started)):
            if not child.ready or capacity > self.wanted:
                self._crew.retire(child, child.due or Reason.RELOADED)
                capacity -= 1
        if len(fresh) > self.wanted:
            fresh.sort(key=lambda child: (child.ready, not child.idle, -child.started))
            for child in fresh[: len(fresh) - self.wanted]:
                self._crew.retire(child, Reason.RESIZED)

    def _start(self, count: int, now: float) -> None:
        if count <= 0:
            return
        children = self._crew.start(count, now)
        if len(children) < count:
            log.warning("there is no room for another worker process")
            self._pauses.fork_failed(now)
        for child in children:
            self._tell(Started(child.record.slot, child.pid, child.generation))

    # -- reaping

    def _reap(self) -> None:
        """Those that died, and, for process 1, whoever was left to it. Their last words are read before they are judged."""
        dead = list(self._crew.dead())
        for child, kind, text in self._crew.reports():
            self._take_report(child, kind, text)
        for child, exit_code in dead:
            self._bury(child, exit_code)

    def _bury(self, child: Child, exit_code: int) -> None:
        record, now = child.record, time.monotonic()
        reason = self._reason(child, exit_code)
        about = (record.slot, child.pid, child.generation)
        died = Died(*about, exit_code, reason, child.detail, record.busy, record.task, record.function, record.jobs)
        self._crew.remove(child)
        if child.serving:
            self._pauses.died(child, now, died.jobs, died.busy)
        if reason is Reason.CANNOT_START:
            kind, text = child.failure or ("SystemExit", f"it left with exit code {exit_code} before it was ready")
            self._give_up(StartFailed(*about, kind, text))
        self._tell(died)

    def _reason(self, child: Child, exit_code: int) -> Reason:
        if exit_code == -signal.SIGKILL and not child.killed and self._oom is not None and self._oom.rose():
            return Reason.OUT_OF_MEMORY
        if child.leaving is not None and (exit_code >= 0 or -exit_code in (signal.SIGTERM, signal.SIGKILL)):
            return child.leaving
        if exit_code >= 0 and not child.ready:
            return Reason.CANNOT_START
        return Reason.LEFT if exit_code == 0 else Reason.CRASHED

    def _give_up(self, failed: StartFailed) -> None:
        """The whole, when nobody else is ready; otherwise a reload, if that is what was tried."""
        self._tell(failed)
        if not any(child.ready and child.serving for child in self._crew):
            self.failure = failed
            self.stop(1)
        for child in self._crew:
            if child.due is Reason.RELOADED:
                child.due = None

    def _send(self, event: Event) -> None:
        if self._commands is not None:
            self._commands.post(pack(event))

    def _tell(self, event: Event) -> None:
        if self._report is not None:
            try:
                self._report(event)
            except Exception:
                log.exception("a supervisor's report failed")
