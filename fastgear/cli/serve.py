# SPDX-License-Identifier: MIT
"""``fastgear serve``: a job server until a signal ends it. Its options are those of ServerConfig."""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from typing import Any

from fastgear.cli.common import CommandError, note
from fastgear.config import Option, ServerConfig, options
from fastgear.errors import ConfigError

EXAMPLES = """\
examples:
  fastgear serve                                        on 127.0.0.1:4730
  fastgear serve --listen :4730                         on every interface, IPv4 and IPv6
  fastgear serve --listen 127.0.0.1:4730 --listen unix:/run/fastgear.sock

Every option can be given in the environment, as FASTGEAR_ and its name in capitals.
SIGTERM and SIGINT end the server; SIGUSR1 lets it finish its jobs first and take no new ones.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("-p", "--port", type=int, help="the port for --listen addresses that name none (default: 4730)")
    parser.add_argument("-P", "--pid-file", metavar="FILE", help="write the process id here, and remove it at the end")
    for name, option, default in options():
        _add_option(parser, name, option, default)


def _add_option(parser: argparse.ArgumentParser, name: str, option: Option, default: Any) -> None:
    shown = ", ".join(default) if isinstance(default, tuple) else default
    text = f"{option.help} (default: {'none' if shown == '' else shown})".replace("%", "%%")
    if option.kind == "switch":
        parser.add_argument(*option.flags, dest=name, action=argparse.BooleanOptionalAction, default=None, help=text)
    elif option.kind == "addresses":
        parser.add_argument(*option.flags, dest=name, action="append", metavar="ADDRESS", help=text)
    elif option.kind == "number":
        parser.add_argument(*option.flags, dest=name, type=int, metavar="N", help=text)
    else:
        parser.add_argument(*option.flags, dest=name, choices=option.choices or None, metavar="TEXT", help=text)


def read_config(args: argparse.Namespace, environment: dict[str, str]) -> ServerConfig:
    """The command line's options, then the environment's, then the defaults."""
    values: dict[str, Any] = {}
    for name, option, _ in options():
        given = getattr(args, name)
        if given is None and option.env in environment:
            given = _from_environment(option, environment[option.env])
        if given is not None:
            values[name] = tuple(given) if option.kind == "addresses" else given
    port = args.port if args.port is not None else _port_of(environment)
    if port is not None:
        values["listen"] = tuple(_with_port(address, port) for address in values.get("listen", ("127.0.0.1",)))
    return ServerConfig(**values)


def _port_of(environment: dict[str, str]) -> int | None:
    port = environment.get("GEARMAND_PORT")
    if port is None:
        return None
    if not port.isdigit():
        raise ConfigError(f"GEARMAND_PORT: {port!r} is no port; it is a number from 0 to 65535")
    return int(port)


def _with_port(address: str, port: int) -> str:
    """An address that names no port of its own gets this one."""
    if address.startswith(("unix:", "fd:")) or (":" in address and not address.endswith("]")):
        return address
    return f"{address}:{port}"


def _from_environment(option: Option, text: str) -> Any:
    if option.kind == "addresses":
        return [address.strip() for address in text.split(",") if address.strip()]
    if option.kind == "switch":
        if text.lower() not in ("1", "yes", "true", "on", "0", "no", "false", "off"):
            raise ConfigError(f"{option.env}: {text!r} is neither yes nor no")
        return text.lower() in ("1", "yes", "true", "on")
    if option.kind == "number":
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"{option.env}: {text!r} is not a whole number") from None
    return text


def run(args: argparse.Namespace) -> int:
    from fastgear.server.server import Server

    config = read_config(args, dict(os.environ))
    _raise_descriptor_limit()
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before the loop's thread starts, so that it inherits this
    server = Server(config=config)
    with _pid_file(args.pid_file):
        try:
            server.start()
        except OSError as error:
            raise CommandError(f"{error.strerror or error}") from error
        note(f"fastgear: serving on {', '.join(server.addresses)}")
        try:
            _serve(server, signals)
        finally:
            server.stop()
    note("fastgear: stopped")
    return 0


def _serve(server: Any, signals: set[signal.Signals]) -> None:
    """Until a signal says otherwise; a second one ends a drain."""
    if signal.sigwait(signals) != signal.SIGUSR1:
        return
    note("fastgear: finishing the jobs that there are; no new ones are taken")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_now)
    with contextlib.suppress(_EndNow):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        server.stop(drain=float("inf"))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # what is left to do is short


class _EndNow(BaseException):
    pass


def _end_now(number: int, frame: object) -> None:
    raise _EndNow


def _raise_descriptor_limit() -> None:
    """As many descriptors as the system allows: each connection takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def _pid_file(path: str | None) -> Iterator[None]:
    if path is None:
        yield
        return
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        raise CommandError(f"the pid file {path} cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
