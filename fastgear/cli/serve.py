# SPDX-License-Identifier: MIT
"""``fastgear serve``: a job server until a signal ends it, with worker processes or without.

Here is the order in which things are done; `settings` is what was told, `serving` what happens until the end.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import importlib
import logging
import os
import signal
import tempfile
from typing import TYPE_CHECKING

from fastgear.cli.common import CommandError, sentence
from fastgear.cli.serving import SIGNALS, WORKERS_SIGNALS, Serving
from fastgear.cli.settings import Settings, add_settings, read_settings
from fastgear.cli.worker import work
from fastgear.errors import FastgearError
from fastgear.service.daemon import Daemon
from fastgear.service.identity import allow_core_files, limit_descriptors, switch_user
from fastgear.service.log import NOTICE, Log
from fastgear.service.pid_file import PidFile
from fastgear.service.systemd import Systemd
from fastgear.version import VERSION

if TYPE_CHECKING:
    from fastgear.server.server import Server
    from fastgear.supervisor.launch import Workers

EXAMPLES = """\
examples:
  fastgear serve                                        on 127.0.0.1:4730
  fastgear serve --listen :4730                         on every interface, IPv4 and IPv6
  fastgear serve --listen 127.0.0.1:4730 --listen unix:/run/fastgear.sock
  fastgear serve --import myapp.tasks --workers 4       with four worker processes
  fastgear serve --config-file /etc/fastgear.toml --check-args

The command line is gearmand's: a unit file needs another program only (docs/moving-over.md). Every option can be given in
the environment, as FASTGEAR_ and its name in capitals, or in a file, TOML with the same names; the command line comes before
the environment, and that before the file.

SIGTERM and SIGINT end the server, after its own workers have finished the jobs in hand; a second one ends at once. SIGUSR1
lets the server finish all its jobs first and take no new ones. SIGHUP opens the log file anew; with workers, it replaces them
by new ones that import MODULE afresh, and SIGTTIN and SIGTTOU want one more or less.
"""

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "fastgear serve [OPTION]..."
    parser.epilog = EXAMPLES
    parser.add_argument("-V", "--version", action="version", version=f"fastgear {VERSION}")
    add_settings(parser)


def run(args: argparse.Namespace) -> int:
    settings = read_settings(args, os.environ)
    if settings.service.check_args:
        return 0
    systemd = Systemd(os.environ)  # before any fork
    with contextlib.closing(systemd):
        service = settings.service
        limit_descriptors(service.file_descriptors)
        if service.user:
            load_code(with_store=bool(settings.server.store))
            switch_user(service.user)
        if service.coredump:
            allow_core_files()
        daemon = Daemon.detach() if service.daemon else None
        return _run(settings, systemd, daemon)


def load_code(*, with_store: bool = False) -> None:
    """Have what will be needed later, which a user who is switched to may not be able to read."""
    importlib.import_module("fastgear.server.server")
    if with_store:
        with contextlib.suppress(ImportError):  # is told of where the store is opened
            importlib.import_module("fastgear.storage.sqlite")
    codecs.lookup("idna")  # of hosts' names


def _run(settings: Settings, systemd: Systemd, daemon: Daemon | None) -> int:
    """From here on a signal waits until the server serves, so that nothing is left half done."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS | WORKERS_SIGNALS if settings.service.target else SIGNALS)
    with contextlib.closing(_open_log(settings)) as log:
        try:
            _remark(settings, systemd)
            with PidFile(settings.service.pid_file) as pid_file:
                _serve(settings, systemd, daemon, pid_file, log)
        except (CommandError, FastgearError, OSError) as error:
            log.last_words(sentence(error))
            raise
        logger.log(NOTICE, "stopped")
    return 0


def _open_log(settings: Settings) -> Log:
    """With --syslog alone there is no other log."""
    service = settings.service
    file = "none" if service.syslog and "log_file" not in settings.given else service.log_file
    log = Log("fastgear", file=file, to_syslog=service.syslog, verbose=settings.server.verbose)
    log.open()
    return log


def _remark(settings: Settings, systemd: Systemd) -> None:
    logger.info("fastgear %s starts with pid %d", VERSION, os.getpid())
    for given in settings.given.values():
        logger.debug("%s is %r", given.where, given.value)
    for remark in settings.remarks:
        logger.log(NOTICE, "%s", remark)
    if not settings.listens and not systemd.sockets:
        port = settings.server.listen[0].rpartition(":")[2]
        remark = "without --listen only this machine gets in; --listen=:%s would be every interface, as in gearmand"
        logger.log(NOTICE, remark, port)
    if settings.service.daemon and settings.service.log_file == "stderr" and not settings.service.syslog:
        logger.log(NOTICE, "a daemon has no standard error; give --log-file or --syslog to keep its log")


# -- serving ----------------------------------------------------------------------------------------------------------


def _serve(settings: Settings, systemd: Systemd, daemon: Daemon | None, pid_file: PidFile, log: Log) -> None:
    target = settings.service.target
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fastgear-")) if target else ""
        server = _make_server(settings, systemd, (_private_address(folder),) if target else ())
        _start(server)
        stack.callback(server.stop)
        systemd.close()
        addresses = ", ".join(server.addresses[:-1] if target else server.addresses)
        pid_file.publish()
        logger.log(NOTICE, "serving on %s", addresses)
        if daemon is not None:
            daemon.ready()
        workers = stack.enter_context(_launch(settings, server.addresses[-1])) if target else None
        Serving(server, workers, systemd, log, f"serving on {addresses}").run()


def _make_server(settings: Settings, systemd: Systemd, private: tuple[str, ...]) -> Server:
    """On the manager's sockets, on the addresses that were given, and on the private one; only without any on the default."""
    from fastgear.server.server import Server

    given = settings.server.listen if settings.listens or not systemd.sockets else ()
    return Server(*systemd.sockets, *given, *private, config=settings.server)


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


def _launch(settings: Settings, address: str) -> Workers:
    """In a fresh interpreter, since this process has the server's thread."""
    from fastgear.supervisor.launch import launch

    return launch(work, settings.service.target, (address,), {}, config=settings.supervisor)
