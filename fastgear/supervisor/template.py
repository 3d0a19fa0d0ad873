# SPDX-License-Identifier: MIT
"""The template process: what its life is between its start by `launch` and its end. It forks the workers."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, Any, NoReturn

from fastgear.config import SupervisorConfig
from fastgear.supervisor.board import Board
from fastgear.supervisor.channel import MAX_TEXT, Channel
from fastgear.supervisor.child import flush_streams
from fastgear.supervisor.events import Event, StartFailed, pack
from fastgear.supervisor.loop import Supervisor
from fastgear.supervisor.signals import reset_signals
from fastgear.threads import expect_the_gil

__all__ = ["BOOTSTRAP", "Task", "process_descriptor", "run_executed", "run_template"]

# What a fresh interpreter is given to run: first the path, so that it finds us; the rest is `run_executed`'s to read.
BOOTSTRAP = (
    "import pickle, sys; file = open(int(sys.argv[1]), 'rb'); sys.argv[:], sys.path[:] = pickle.load(file); "
    "from fastgear.supervisor.template import run_executed; run_executed(file)"
)


@dataclass(frozen=True)
class Task:
    """What a template is for."""

    main: Callable[..., Any]
    args: tuple[Any, ...]
    config: SupervisorConfig
    report: Callable[[Event], None] | None

    def supervisor(self, board: Board, commands: Channel, caller: int) -> Supervisor:
        return Supervisor(
            self.main, self.args, self.config, report=self.report, board=board, commands=commands, caller=caller
        )


def run_template(supervisor: Supervisor, handled: Iterable[int]) -> NoReturn:
    """Supervise, and end the process. Signals are blocked when this begins; `handled` are those with handlers of the caller's."""
    code = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)  # a terminal's Ctrl-C is the caller's business
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # which also drops one that came before
        reset_signals(handled)
        code = supervisor.run()
    except BaseException:
        traceback.print_exc()
    finally:
        flush_streams()
        os._exit(code)


def process_descriptor() -> int:
    """A pidfd of this process, for the template: it tells of our end even while others hold copies of our socket.

    -1 from a kernel older than 5.3, or one that is told not to: then the socket must do.
    """
    with contextlib.suppress(OSError):
        return os.pidfd_open(os.getpid())
    return -1


def run_executed(file: IO[bytes]) -> NoReturn:
    """The same in a fresh interpreter, which reads its task from a file. What it cannot read, it reports."""
    commands: Channel | None = None
    expect_the_gil()
    try:
        descriptors = pickle.load(file)
        for fd in descriptors:
            if fd >= 0:
                os.set_inheritable(fd, False)
        board_fd, commands_fd, caller = descriptors
        commands = Channel(socket.socket(fileno=commands_fd))
        supervisor = pickle.load(file).supervisor(Board(fd=board_fd), commands, caller)
        file.close()
    except BaseException as error:
        traceback.print_exc() if commands is None else _report(error, commands)
        os._exit(1)
    run_template(supervisor, ())


def _report(error: BaseException, commands: Channel) -> None:
    text = "".join(traceback.format_exception(error)).rstrip()[-MAX_TEXT:]
    commands.post(pack(StartFailed(-1, os.getpid(), 0, type(error).__name__, text)))
    commands.finish()
