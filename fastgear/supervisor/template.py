# SPDX-License-Identifier: MIT
"""The template process: what its life is between its start by `launch` and its end. It forks the workers."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, NoReturn

from fastgear.config import SupervisorConfig
from fastgear.supervisor.board import Board
from fastgear.supervisor.channel import MAX_TEXT, Channel
from fastgear.supervisor.child import flush_streams, reset_signals
from fastgear.supervisor.events import Event, StartFailed
from fastgear.supervisor.loop import Supervisor

__all__ = ["BOOTSTRAP", "Task", "run_executed", "run_template"]

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
    caller: int  # the process id


def run_template(task: Task, board: Board, commands: Channel) -> NoReturn:
    """Supervise, and end the process. Signals are blocked when this begins."""
    code = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)  # a terminal's Ctrl-C is the caller's business
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # which also drops one that came before
        reset_signals(signal.valid_signals())
        code = Supervisor(
            task.main,
            task.args,
            task.config,
            report=task.report or commands.post,
            board=board,
            commands=commands,
            caller=_watch(task.caller),
        ).run()
        if task.report is None:
            commands.finish()
    except BaseException:
        traceback.print_exc()
    finally:
        flush_streams()
        os._exit(code)


def _watch(caller: int) -> int:
    """A pidfd of the caller, which tells of its end even while other processes hold copies of its socket; -1 without one."""
    pidfd = -1
    with contextlib.suppress(OSError):  # a kernel older than 5.3, or one that is told not to
        pidfd = os.pidfd_open(caller)
    if os.getppid() != caller:
        os._exit(1)
    return pidfd


def run_executed(file: IO[bytes]) -> NoReturn:
    """The same in a fresh interpreter, which reads its task from a file. What it cannot read, it reports."""
    commands: Channel | None = None
    try:
        board_fd, commands_fd = pickle.load(file)
        commands = Channel(socket.socket(fileno=commands_fd))
        os.set_inheritable(board_fd, False)
        os.set_inheritable(commands_fd, False)
        board = Board(fd=board_fd)
        task = pickle.load(file)
        file.close()
    except BaseException as error:
        if commands is not None:
            text = "".join(traceback.format_exception(error)).rstrip()[-MAX_TEXT:]
            commands.send(StartFailed(-1, os.getpid(), 0, type(error).__name__, text))
            commands.finish()
        else:
            traceback.print_exc()
        os._exit(1)
    run_template(task, board, commands)
