# SPDX-License-Identifier: MIT
"""From an address as a person writes it to a listening socket. Knows no loop and no protocol.

An address is ``host:port``, ``[ipv6]:port``, ``:port`` (every interface, IPv4 and IPv6), ``unix:/path``, ``unix:@name``
(Linux's abstract sockets), ``fd:N`` (inherited, already listening or at least bound), or a socket object.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from fastgear.config import ServerConfig
from fastgear.errors import ConfigError

_MAX_PATH = 107  # of a struct sockaddr_un


@dataclass(frozen=True)
class Listener:
    """A listening socket, the address that clients use, and the file to remove at the end, if any."""

    socket: socket.socket
    address: str
    path: str | None = None

    def close(self) -> None:
        self.socket.close()
        self.remove_path()

    def remove_path(self) -> None:
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


def listen_on(addresses: Iterable[str | int | socket.socket], config: ServerConfig) -> list[Listener]:
    """Open them all, or none: the first that fails closes the others and raises OSError or ConfigError."""
    listeners: list[Listener] = []
    try:
        for address in addresses:
            listeners += _open(address, config)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _open(address: str | int | socket.socket, config: ServerConfig) -> list[Listener]:
    if isinstance(address, socket.socket):
        return [_inherited(address.dup(), config)]
    if isinstance(address, int):
        return _open_tcp("127.0.0.1", address, config)
    if address.startswith("unix:"):
        return [_open_unix(unix_path(address), config)]
    if address.startswith("fd:"):
        return [_inherited(_adopt(address), config)]
    host, port = split_host_port(address)
    return _open_tcp(host, port, config)


def split_host_port(address: str) -> tuple[str, int]:
    """``host:port``, ``[::1]:port`` or ``:port`` into its parts; the host may be empty, for every interface."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or not colon:
        raise ConfigError(f"listen: {address!r} is no address; write host:port, [ipv6]:port, unix:/path or fd:N")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"listen: {port!r} in {address!r} is no port; it is a number from 0 to 65535")
    return host, int(port)


def unix_path(address: str) -> str:
    """The path in ``unix:/path``, or ``@name``. Without one the system would make a name that nobody learns."""
    path = address.removeprefix("unix:")
    if path in ("", "@"):
        raise ConfigError(f"listen: {address!r} names no Unix socket; write unix:/path")
    if len(os.fsencode(path)) > _MAX_PATH:
        raise ConfigError(f"listen: the path of a Unix socket has at most {_MAX_PATH} bytes: {path!r}")
    return path


# -- TCP --------------------------------------------------------------------------------------------------------------


def _open_tcp(host: str, port: int, config: ServerConfig) -> list[Listener]:
    """Every address that the host resolves to, on the same port; of an empty host, one dual-stack socket.

    Names have addresses that the machine does not have: localhost is often ::1 as well where IPv6 is switched off, as in
    containers. Those are left out, as long as there are others.
    """
    if host in ("", "*"):
        return [_every_interface(port, config)]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(f"listen: the host {host!r} has no address: {error.strerror}") from error
    listeners: list[Listener] = []
    missing: OSError | None = None
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            if listeners and port == 0:
                port = listeners[0].socket.getsockname()[1]
            try:
                listeners.append(_bind_tcp(family, (str(address[0]), port, *address[2:]), config))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    if missing is not None and not listeners:
        raise missing
    return listeners


def _every_interface(port: int, config: ServerConfig) -> Listener:
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return _bind_tcp(socket.AF_INET6, ("::", port), config, dual_stack=True)
    return _bind_tcp(socket.AF_INET, ("0.0.0.0", port), config)


def _bind_tcp(
    family: int, address: tuple[str | int, ...], config: ServerConfig, *, dual_stack: bool = False
) -> Listener:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
        _tune_tcp(sock, config)
        sock.bind(address)
        sock.listen(config.backlog)
    except OSError as error:
        sock.close()
        raise _explained(error, address_text(address)) from error
    sock.setblocking(False)
    return Listener(sock, address_text(sock.getsockname()))


def _explained(error: OSError, address: str) -> OSError:
    """The same error, saying which address it is about."""
    hint = "; is another server running there?" if error.errno == errno.EADDRINUSE else ""
    return type(error)(error.errno, f"cannot listen on {address}: {os.strerror(error.errno or 0)}{hint}")


def address_text(address: tuple[str | int, ...]) -> str:
    host, port = str(address[0]), address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tune_tcp(sock: socket.socket, config: ServerConfig) -> None:
    """On Linux accepted sockets inherit all of these, so none of them costs a system call per connection."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if config.keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            (socket.TCP_KEEPIDLE, config.keepalive_idle_s),
            (socket.TCP_KEEPINTVL, config.keepalive_interval_s),
            (socket.TCP_KEEPCNT, config.keepalive_count),
        ):
            if value > 0:  # else it is left as the system has it
                sock.setsockopt(socket.IPPROTO_TCP, name, value)


# -- Unix sockets and inherited ones ----------------------------------------------------------------------------------


def _open_unix(path: str, config: ServerConfig) -> Listener:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    abstract = path.startswith("@")
    try:
        if not abstract:
            _remove_stale(path)
        sock.bind("\0" + path[1:] if abstract else path)
        sock.listen(config.backlog)
    except OSError as error:
        sock.close()
        raise _explained(error, f"unix:{path}") from error
    sock.setblocking(False)
    return Listener(sock, f"unix:{path}", None if abstract else path)


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody listens on; anything else that is in the way stays."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def _adopt(address: str) -> socket.socket:
    number = address.removeprefix("fd:")
    if not number.isdigit():
        raise ConfigError(f"listen: {address!r} names no descriptor; write fd:3")
    try:
        return socket.socket(fileno=os.dup(int(number)))
    except OSError as error:
        raise ConfigError(f"listen: descriptor {number} is no socket: {error.strerror}") from error


def _inherited(sock: socket.socket, config: ServerConfig) -> Listener:
    """Already bound by whoever gave it to us, so its file, if it has one, is not ours to remove."""
    sock.setblocking(False)
    try:
        if sock.family != socket.AF_UNIX:
            _tune_tcp(sock, config)
        sock.listen(config.backlog)
    except OSError as error:
        sock.close()
        raise ConfigError(f"listen: the inherited socket cannot be listened on: {error.strerror}") from error
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        text = os.fsdecode(name)
        return Listener(sock, "unix:" + text.replace("\0", "@", 1))
    return Listener(sock, address_text(name))
