# SPDX-License-Identifier: MIT
"""A client of the text commands, which every Gearman server speaks. The replies are parsed by `protocol.replies`."""

from __future__ import annotations

import time
from types import TracebackType

from fastgear.addresses import Address
from fastgear.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError
from fastgear.protocol.replies import (
    is_error,
    parse_counters,
    parse_ok,
    parse_priority_status,
    parse_show_jobs,
    parse_status,
    parse_uniques,
    parse_workers,
)
from fastgear.protocol.session import server_error
from fastgear.protocol.wire import PacketReader, PacketType
from fastgear.stream import Stream, connect
from fastgear.types import ConnectionInfo, FunctionInfo, JobInfo, PriorityInfo

__all__ = ["AdminClient"]

_PACKET = b"\0RES"
_LONGEST_ERROR = 10_000
_LISTINGS = ("status", "prioritystatus", "workers", "show", "counters")


class AdminClient:
    """Asks one server for its lists, and changes what can be changed by a text command.

    Connects at the first command. For one thread at a time. Every method raises ConnectionLost, within `timeout` seconds,
    and ServerError where the server answers ERR.

    >>> from fastgear import Server
    >>> with Server("127.0.0.1:0") as server, AdminClient(server.address) as admin:
    ...     admin.create_function("reverse")
    ...     admin.status()
    [FunctionInfo(name='reverse', total=0, running=0, workers=0)]
    """

    def __init__(self, server: str, *, timeout: float = 10.0) -> None:
        self.address = Address.parse(server)
        self._timeout = timeout
        self._stream: Stream | None = None

    def command(self, line: str) -> str:
        """The reply to any command, as it came."""
        if "\n" in line:
            raise LocalProtocolError("a command is one line")
        if self._stream is not None and self._stream.poll(0.0):
            self.close()  # it ended while nobody looked
        if self._stream is None:
            self._stream = connect(self.address, self._timeout)
        is_listing = line.lower().split(" ", 1)[0] in _LISTINGS
        try:
            self._stream.send(line.encode("utf-8", "surrogateescape") + b"\r\n")
            return self._read_reply(self._stream, is_listing)
        except BaseException:  # a late reply would be taken for the next command's
            self.close()
            raise

    def _read_reply(self, stream: Stream, is_listing: bool) -> str:
        deadline = time.monotonic() + self._timeout
        reply = bytearray()
        while not _is_complete(reply, is_listing):
            data = stream.wait(deadline)
            if not data:
                raise ConnectionLost(f"{self.address} did not answer within {self._timeout:g} s")
            reply += data
            if reply.startswith(_PACKET):
                self._refuse(reply)
        return reply.decode("utf-8", "surrogateescape")

    def _refuse(self, reply: bytearray) -> None:
        """Packets answer no text command: an ERROR in one says why the server does not want the connection."""
        for packet in PacketReader().feed(reply):
            if packet.type is not PacketType.ERROR:
                raise RemoteProtocolError(f"{self.address} answered a text command with {packet.type.name}")
            raise ConnectionLost(f"the connection to {self.address} broke: {server_error(packet)}")

    # -- lists

    def status(self) -> list[FunctionInfo]:
        """Every function, with its jobs and the workers that are able to do it."""
        return parse_status(self.command("status"))

    def priority_status(self) -> list[PriorityInfo]:
        """Every function, with its queued jobs by priority."""
        return parse_priority_status(self.command("prioritystatus"))

    def workers(self) -> list[ConnectionInfo]:
        """Every connection of the server, this one too."""
        return parse_workers(self.command("workers"))

    def jobs(self) -> list[JobInfo]:
        """Every job of the server."""
        return parse_show_jobs(self.command("show jobs"))

    def uniques(self) -> list[str]:
        """The unique of every job, empty for those without."""
        return parse_uniques(self.command("show unique jobs"))

    def counters(self) -> dict[str, int]:
        """Counts since the start. Only fastgear's server has them; another answers ERR."""
        return parse_counters(self.command("counters"))

    def version(self) -> str:
        """The server's version, as it says it."""
        return parse_ok(self.command("version"))

    # -- changes

    def cancel(self, handle: str) -> None:
        """End a job, queued or running: its clients get WORK_FAIL. Raises ServerError when there is none of that handle."""
        parse_ok(self.command(f"cancel job {_word(handle)}"))

    def create_function(self, name: str) -> None:
        """Make a function known before any job or worker names it."""
        parse_ok(self.command(f"create function {_word(name)}"))

    def drop_function(self, name: str) -> None:
        """Raises ServerError while it has workers or jobs, or when there is none of that name."""
        parse_ok(self.command(f"drop function {_word(name)}"))

    def max_queue(self, name: str, *limits: int) -> None:
        """Limit a function's jobs: one number for every priority, or three for high, normal and low; none: no limit."""
        if len(limits) not in (0, 1, 3):
            raise LocalProtocolError("maxqueue takes no limit, one, or three: high, normal, low")
        parse_ok(self.command(" ".join(["maxqueue", _word(name), *map(str, limits)])))

    # -- life cycle

    def close(self) -> None:
        """Close the connection; the next command opens another."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _is_complete(reply: bytearray, is_listing: bool) -> bool:
    if reply.startswith(_PACKET):
        return False
    if is_listing and not is_error(reply[:_LONGEST_ERROR].decode("latin-1")):
        return reply == b".\n" or reply.endswith(b"\n.\n")
    return reply.endswith(b"\n")


def _word(name: str) -> str:
    """Text commands are split at blanks, so a name with one cannot be said in them."""
    if not name or any(character.isspace() for character in name):
        raise LocalProtocolError(f"{name!r} cannot be said in a text command: it is empty or has a blank in it")
    return name
