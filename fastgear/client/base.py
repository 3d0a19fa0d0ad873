# SPDX-License-Identifier: MIT
"""What the blocking and asyncio's client have in common: their options, and what a silent or refusing server comes to."""

from __future__ import annotations

from collections.abc import Sequence

from fastgear.addresses import Address, default_servers
from fastgear.client.view import refused
from fastgear.errors import ConnectionLost, JobTimeout, ServerError
from fastgear.protocol.session import SubmittedJob
from fastgear.servers import Backoff, Servers

__all__ = ["ClientBase", "check_acknowledged", "not_greeted"]


class ClientBase:
    """A client without its connections."""

    def __init__(self, servers: Sequence[str], timeout: float | None, exceptions: bool, client_id: str | None) -> None:
        self._servers = Servers([Address.parse(server) for server in servers or default_servers()], Backoff())
        self._timeout = timeout
        self._exceptions = exceptions
        self._client_id = client_id
        self._closed = False

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this client is closed")

    def _not_answered(self, address: Address) -> JobTimeout:
        """The server is left alone until it speaks, where there are others."""
        self._servers.backoff(address).fell_silent()
        return JobTimeout(f"{address} did not answer within {self._timeout} s")

    def _not_acknowledged(self, address: Address) -> JobTimeout:
        """The same, of a job."""
        self._servers.backoff(address).fell_silent()
        return JobTimeout(f"{address} did not acknowledge a job within {self._timeout} s")


def not_greeted(address: Address) -> ConnectionLost:
    """The kernel connects whether the program answers or not."""
    return ConnectionLost(f"cannot connect to {address}: it did not answer in time")


def check_acknowledged(record: SubmittedJob) -> None:
    """Raises what the server has said instead, or what has become of its connection."""
    if isinstance(record.error, ServerError):
        raise refused(record.error, record.function)
    if record.error is not None:
        raise record.error
