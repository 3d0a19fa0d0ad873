# SPDX-License-Identifier: MIT
"""``fastgear serve``: a job server until a signal ends it, with worker processes or without.

Its options are those of ServerConfig and, for the workers, of SupervisorConfig.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from fastgear.cli.common import USAGE, CommandError, note
from fastgear.cli.options import add_options, given_options
from fastgear.cli.worker import report, work
from fastgear.config import ServerConfig, SupervisorConfig
from fastgear.errors import ConfigError

if TYPE_CHECKING:
    from fastgear.server.server import Server
    from fastgear.supervisor.launch import Workers

EXAMPLES = """\
examples:
  fastgear serve                                        on 127.0.0.1:4730
  fastgear serve --listen :4730                         on every interface, IPv4 and IPv6
  fastgear serve --listen 127.0.0.1:4730 --listen unix:/run/fastgear.sock
  fastgear serve --import myapp.tasks --workers 4       with four worker processes

Every option can be given in the environment, as FASTGEAR_ and its name in capitals.
SIGTERM and SIGINT end the server, after its own workers have finished the jobs in hand; a second one ends at once. SIGUSR1
lets the server finish all its jobs first and take no new ones. With workers, SIGHUP replaces them by new ones that import
MODULE afresh, and SIGTTIN and SIGTTOU want one more or less.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("-p", "--port", type=int, help="the port for --listen addresses that name none (default: 4730)")
    parser.add_argument("-P", "--pid-file", metavar="FILE", help="write the process id here, and remove it at the end")
    add_options(parser, ServerConfig)
    group = parser.add_argument_group("worker processes")
    group.add_argument(
        "--import", dest="target", metavar="MODULE[:NAME]", help="run these functions, as `fastgear worker` does"
    )
    add_options(group, SupervisorConfig)


def read_config(args: argparse.Namespace, environment: Mapping[str, str]) -> ServerConfig:
    """The command line's options, then the environment's, then the defaults."""
    values = given_options(args, environment, ServerConfig)
    port = args.port if args.port is not None else _port_of(environment)
    if port is not None:
        values["listen"] = tuple(_with_port(address, port) for address in values.get("listen", ("127.0.0.1",)))
    return ServerConfig(**values)


def _port_of(environment: Mapping[str, str]) -> int | None:
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


def run(args: argparse.Namespace) -> int:
    from fastgear.server.server import Server

    config = read_config(args, os.environ)
    target = args.target or os.environ.get("FASTGEAR_IMPORT")
    if args.workers is not None and target is None:
        raise CommandError("--workers: say what they are to run, with --import MODULE", USAGE)
    workers_config = SupervisorConfig(**given_options(args, os.environ, SupervisorConfig))
    _raise_descriptor_limit()
    signals = _ENDING | _WORKERS if target else _ENDING
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before the loop's thread starts, so that it inherits this
    with _pid_file(args.pid_file), contextlib.ExitStack() as stack:
        if target:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fastgear-"))
            config = replace(config, listen=(*config.listen, _private_address(folder)))
        server = Server(config=config)
        _start(server)
        stack.callback(server.stop)
        note(f"fastgear: serving on {', '.join(server.addresses[:-1] if target else server.addresses)}")
        workers = stack.enter_context(_launch(target, server.addresses[-1], workers_config)) if target else None
        _serve(server, workers, signals)
    note("fastgear: stopped")
    return 0


_ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
_WORKERS = {signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD}


def _private_address(folder: str) -> str:
    """The socket of this server's own workers; nobody else gets into the folder, whose mode is 0700.

    Whoever is to be checked besides (SO_PEERCRED) is checked by the server, where it accepts.
    """
    return f"unix:{folder}/workers"


def _start(server: Server) -> None:
    try:
        server.start()
    except OSError as error:
        raise CommandError(f"{error.strerror or error}") from error


def _launch(target: str, address: str, config: SupervisorConfig) -> Workers:
    """In a fresh interpreter, since this process has the server's thread."""
    from fastgear.supervisor.launch import launch

    return launch(work, target, (address,), {}, config=config, report=report)


def _serve(server: Server, workers: Workers | None, signals: set[signal.Signals]) -> None:
    """Until a signal says otherwise; a second one ends a drain."""
    while (number := signal.sigwait(signals)) not in _ENDING:
        assert workers is not None
        if number != signal.SIGCHLD:
            os.kill(workers.pid, number)
        workers.receive()
        if not workers.running:
            raise CommandError("the worker processes have ended, and so does the server")
    if number == signal.SIGUSR1:
        _drain(server)
    elif workers is not None:
        _drain_workers(workers, signals)


def _drain(server: Server) -> None:
    note("fastgear: finishing the jobs that there are; no new ones are taken")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_now)
    with contextlib.suppress(_EndNow):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        server.stop(drain=float("inf"))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # what is left to do is short


def _drain_workers(workers: Workers, signals: set[signal.Signals]) -> None:
    """Until the last has left, or another signal comes."""
    note("fastgear: the workers finish the jobs in hand")
    workers.drain()
    while workers.running and signal.sigwait(signals) not in (signal.SIGTERM, signal.SIGINT):
        workers.receive()


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
