# SPDX-License-Identifier: MIT
"""Addresses as people write them: ``host:port``, ``host``, ``[ipv6]:port``, ``unix:/path``, ``unix:@abstract``. No I/O."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from fastgear.errors import ConfigError

__all__ = ["DEFAULT_PORT", "Address", "default_servers"]

DEFAULT_PORT = 4730


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is. Exactly one of `host` (with its `port`) and `path` is set; an abstract path begins with ``@``.

    >>> Address.parse("[::1]:4731")
    Address(host='::1', port=4731, path=None)
    >>> str(Address.parse("localhost"))
    'localhost:4730'
    """

    host: str | None = None
    port: int = DEFAULT_PORT
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises ConfigError, saying how an address is written."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path or path == "@":
                raise ConfigError(f"{text!r} names no Unix socket; write unix:/path")
            return cls(path=path)
        host, port = _split(text)
        if not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
            raise ConfigError(f"{port!r} in {text!r} is no port; it is a number from 0 to 65535")
        return cls(host=host, port=int(port))

    @property
    def socket_path(self) -> str:
        """The path as the socket module takes it."""
        path = self.path or ""
        return "\0" + path[1:] if path.startswith("@") else path

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        in_brackets = ":" in (self.host or "") or self.host == "unix"
        return f"[{self.host}]:{self.port}" if in_brackets else f"{self.host}:{self.port}"


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ConfigError(f"{text!r} is no address; write [ipv6]:port")
        return host, rest[1:] or str(DEFAULT_PORT)
    if "/" in text:
        raise ConfigError(f"{text!r} is no address; write host:port, without a scheme, or unix:/path")
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, str(DEFAULT_PORT)
    if ":" in host:
        raise ConfigError(f"{text!r} is no address; an IPv6 address stands in brackets: [{text}]:{DEFAULT_PORT}")
    if any(character.isspace() for character in host):
        raise ConfigError(f"{text!r} is no address; write host:port, [ipv6]:port or unix:/path")
    return host, port


def default_servers(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """What GEARMAN_SERVERS (a list with commas) or GEARMAN_SERVER says, as libgearman's tools read them; else localhost."""
    servers = environment.get("GEARMAN_SERVERS") or environment.get("GEARMAN_SERVER") or ""
    return tuple(name.strip() for name in servers.split(",") if name.strip()) or (f"127.0.0.1:{DEFAULT_PORT}",)
