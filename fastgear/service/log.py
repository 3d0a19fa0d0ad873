# SPDX-License-Identifier: MIT
"""The log of a process: to a file, standard error or the system's log, through Python's logging.

Lines in a file look like gearmand's: level, date, thread, message. Standard error gets the message alone, since who reads
that, a person or systemd, knows the time; systemd's journal gets the level as well, in its own way.
"""

from __future__ import annotations

import contextlib
import logging
import os
import syslog
import time

__all__ = ["NOTICE", "Log", "python_level"]

NOTICE = 25
_LEVELS = {
    "FATAL": 60,
    "ALERT": 55,
    "CRITICAL": 50,
    "ERROR": 40,
    "WARNING": 30,
    "NOTICE": NOTICE,
    "INFO": 20,
    "DEBUG": 10,
}
_STDERR = 2


def python_level(name: str) -> int:
    """The number that Python's logging has for one of gearmand's levels."""
    return _LEVELS[name]


def _name(number: int) -> str:
    return next((name for name, level in _LEVELS.items() if number >= level), "DEBUG")


def _priority(number: int) -> int:
    """The number that syslog and the journal have for it."""
    return list(_LEVELS).index(_name(number))


class Log:
    """Takes all lines of this process from `open` to `close`, down to those of the level `verbose`."""

    def __init__(self, program: str, *, file: str, to_syslog: bool, verbose: str) -> None:
        self._handlers: list[logging.Handler] = []
        self._file: _File | None = None
        if file == "stderr":
            self._handlers.append(_Stderr(program))
        elif file != "none":
            self._file = _File(file)
            self._handlers.append(self._file)
        if to_syslog:
            self._handlers.append(_Syslog(program))
        self._program = program
        self._level = python_level(verbose)

    def open(self) -> None:
        """A file that cannot be opened is replaced by standard error, as in gearmand, and says so."""
        complaint = self._file.reopen() if self._file is not None else ""
        if complaint:
            self._handlers = [_Stderr(self._program) if one is self._file else one for one in self._handlers]
            self._file = None
        root = logging.getLogger()
        root.setLevel(self._level)
        for handler in self._handlers:
            root.addHandler(handler)
        if complaint:
            logging.getLogger(__name__).error("%s; logging to standard error", complaint)

    def reopen(self) -> None:
        """Open the file anew, once somebody has moved the old one away. The old one is kept when that is not possible."""
        if self._file is None:
            return
        complaint = self._file.reopen()
        if complaint:
            logging.getLogger(__name__).error("%s; logging to the old one", complaint)
        else:
            logging.getLogger(__name__).log(NOTICE, "SIGHUP: the log was opened anew")

    def last_words(self, sentence: str) -> None:
        """Log an error everywhere but on standard error, where the caller says it."""
        record = logging.makeLogRecord({"levelno": logging.ERROR, "msg": sentence, "threadName": "MainThread"})
        for handler in self._handlers:
            if not isinstance(handler, _Stderr):
                handler.handle(record)

    def close(self) -> None:
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()


class _File(logging.Handler):
    """A line is one write, so that several processes may share the file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = os.path.abspath(path)
        self._fd = -1

    def reopen(self) -> str:
        """The complaint, or nothing."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY, 0o644)
        except OSError as error:
            return f"the log file {self._path} cannot be opened: {error.strerror}"
        old, self._fd = self._fd, fd
        if old >= 0:
            os.close(old)
        return ""

    def emit(self, record: logging.LogRecord) -> None:
        date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        thread = "main" if record.threadName == "MainThread" else record.threadName
        microseconds = int(record.created % 1 * 1e6)
        line = f"{_name(record.levelno):>7} {date}.{microseconds:06} [ {thread:>5} ] {self.format(record)}\n"
        _write(self._fd, line)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().close()


class _Stderr(logging.Handler):
    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program
        self._journal = _is_journal()

    def emit(self, record: logging.LogRecord) -> None:
        if self._journal:
            for line in self.format(record).splitlines():
                _write(_STDERR, f"<{_priority(record.levelno)}>{line}\n")
            return
        level = f"{_name(record.levelno).lower()}: " if record.levelno >= logging.WARNING else ""
        _write(_STDERR, f"{self._program}: {level}{self.format(record)}\n")


class _Syslog(logging.Handler):
    def __init__(self, program: str) -> None:
        super().__init__()
        syslog.openlog(program, syslog.LOG_PID | syslog.LOG_NDELAY, syslog.LOG_USER)

    def emit(self, record: logging.LogRecord) -> None:
        syslog.syslog(_priority(record.levelno), f"{_name(record.levelno):>7} {self.format(record)}")

    def close(self) -> None:
        syslog.closelog()
        super().close()


def _write(fd: int, line: str) -> None:
    """A reader that is gone, a full pipe or a full disk costs the line, and not the server."""
    with contextlib.suppress(OSError):
        os.write(fd, line.encode(errors="backslashreplace"))


def _is_journal() -> bool:
    """Whether standard error is the journal that JOURNAL_STREAM names, by device and inode."""
    status = os.fstat(_STDERR)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
