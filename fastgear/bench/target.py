# SPDX-License-Identifier: MIT
"""The server as a process of this machine: which one it is, the CPU time that it takes, and its memory."""

from __future__ import annotations

import os
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

import psutil

from fastgear.addresses import Address
from fastgear.errors import ConfigError

__all__ = ["Reading", "Target", "find_pid"]


def find_pid(address: Address, sock: socket.socket) -> int | None:
    """The one process that listens where `sock` is connected to; None when there is none here, or several."""
    if address.path is not None:
        pid: int = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return pid if pid > 1 else None  # 1: systemd made the socket
    host, port = sock.getpeername()[:2]
    if host != sock.getsockname()[0]:
        return None  # another machine's
    try:
        found = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    pids = {one.pid for one in found if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port}
    return pids.pop() if len(pids) == 1 else None


@dataclass(frozen=True)
class Reading:
    """At one moment."""

    threads_ns: dict[int, int]  # exact, of the threads that are there
    total_ns: int  # to 10 ms, of those that have ended, too
    rss: int


class Target:
    """A process that is looked at. Of this very process, the calling thread is left out: it is the load."""

    def __init__(self, pid: int) -> None:
        try:
            self._process = psutil.Process(pid)
            self.read()
        except psutil.Error as error:
            raise ConfigError(f"pid: process {pid} cannot be looked at; {error}") from error
        self.pid = pid

    def read(self) -> Reading:
        times = self._process.cpu_times()
        return Reading(self._threads(), round((times.user + times.system) * 1e9), self._process.memory_info().rss)

    def try_read(self) -> Reading | None:
        """None when it has ended."""
        try:
            return self.read()
        except psutil.Error:
            return None

    def _threads(self) -> dict[int, int]:
        found = {}
        for path in Path(f"/proc/{self._process.pid}/task").glob("*/schedstat"):
            try:
                found[int(path.parent.name)] = int(path.read_text().split()[0])
            except (OSError, ValueError, IndexError):
                continue
        if self._process.pid == os.getpid():
            found.pop(threading.get_native_id(), None)
        return found


def cpu_ns(before: Reading, after: Reading) -> int:
    """CPU time from one reading to the other."""
    if before.threads_ns and before.threads_ns.keys() == after.threads_ns.keys():
        return sum(after.threads_ns.values()) - sum(before.threads_ns.values())
    return after.total_ns - before.total_ns
