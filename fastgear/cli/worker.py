# SPDX-License-Identifier: MIT
"""``fastgear worker MODULE[:NAME]``: run a module's functions as a worker, in this process or in supervised ones."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from fastgear.cli.common import FAILED, USAGE, CommandError, add_server, note, servers
from fastgear.cli.options import add_options, given_options
from fastgear.config import SupervisorConfig
from fastgear.errors import ConfigError

if TYPE_CHECKING:
    from fastgear.supervisor.child import Context
    from fastgear.supervisor.events import Event
    from fastgear.worker.worker import Worker

EXAMPLES = """\
MODULE is imported from the current folder or the installed packages. NAME in it is either a mapping from function names
to callables, or one callable, which gives its own name to the function; without NAME, the mapping `functions` is taken.

examples:
  fastgear worker myapp.tasks                    functions = {"reverse": reverse, "resize": resize}
  fastgear worker myapp.tasks:reverse            def reverse(job): return job.workload[::-1]
  fastgear worker myapp.tasks -n 4               four processes, each kept alive; -n 0: one for each CPU
  fastgear worker myapp.tasks --max-rss 500000000 --time-limit 60

SIGTERM and SIGINT let the workers finish the jobs in hand; a second one ends at once. With several processes, or one that
is to be replaced, SIGHUP replaces all of them by new ones that import MODULE afresh, and SIGTTIN and SIGTTOU want one process
more or less. The options of processes can be given in the environment, as FASTGEAR_ and their name in capitals.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    add_server(parser, several=True)
    parser.add_argument("target", metavar="MODULE[:NAME]")
    parser.add_argument("--prefetch", type=int, default=1, help="jobs asked for ahead of time (default: 1)")
    parser.add_argument("--client-id", help="the name that the server's list of workers shows (default: MODULE:PID)")
    parser.add_argument("--timeout", type=float, help="seconds after which a job is given to another worker")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    add_options(parser, SupervisorConfig, workers="1, in this very process")


def run(args: argparse.Namespace) -> int:
    values = {"workers": 1} | given_options(args, os.environ, SupervisorConfig)
    config = SupervisorConfig(**values)
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(levelname)s %(message)s")
    options = {"prefetch": args.prefetch, "client_id": args.client_id, "timeout": args.timeout}
    where = ", ".join(servers(args))
    if config.workers != 1 or config.max_jobs or config.max_rss or config.max_age_s or config.time_limit_s:
        return _supervise(args.target, servers(args), options, config, args.verbose)
    worker = _make_worker(args.target, servers(args), **options)
    note(f"fastgear: working on {', '.join(worker.functions)} for {where}")
    worker.run()
    return 0


def _make_worker(
    target: str,
    addresses: tuple[str, ...],
    *,
    prefetch: int = 1,
    client_id: str | None = None,
    timeout: float | None = None,
) -> Worker:
    from fastgear.worker.worker import Worker

    functions = load(target)
    worker = Worker(*addresses, prefetch=prefetch, client_id=client_id or f"{target}:{os.getpid()}")
    for name, call in functions.items():
        worker.register(name, call, timeout=timeout)
    return worker


# -- in processes of their own ------------------------------------------------------------------------------------------


def _supervise(
    target: str, addresses: tuple[str, ...], options: dict[str, Any], config: SupervisorConfig, verbose: bool
) -> int:
    from fastgear.supervisor.loop import Supervisor

    supervisor = Supervisor(work, (target, addresses, options), config, report=report_all if verbose else report)
    note(f"fastgear: {supervisor.wanted} worker processes for {', '.join(addresses)}")
    code = supervisor.run()
    if supervisor.failure is not None:
        usage = supervisor.failure.kind == ConfigError.__name__
        raise CommandError("the worker processes cannot start", USAGE if usage else FAILED)
    return code


def work(context: Context, target: str, addresses: tuple[str, ...], options: dict[str, Any]) -> None:
    """What a worker process does. The module is imported here, so that a process that starts later has its newer text."""
    try:
        worker = _make_worker(target, addresses, **options)
    except CommandError as error:
        raise ConfigError(str(error)) from error
    worker.observe(context.begin, context.end)
    pid = os.getpid()

    def leave(number: int, frame: FrameType | None) -> None:
        """The process manager may send what the supervisor sends, too: a second signal is not to cut a job off here."""
        if os.getpid() == pid:
            worker.stop()
        else:  # a child that a job has forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    context.ready()
    worker.run(handle_signals=False)


def report(event: Event) -> None:
    """Tell a person what did not go as planned."""
    text = unplanned(event)
    if text:
        note(f"fastgear: {text}")


def unplanned(event: Event) -> str:
    """What an event says that did not go as planned, or nothing."""
    from fastgear.supervisor.events import Died, Reason, StartFailed

    planned = (Reason.CANNOT_START, Reason.STOPPED, Reason.RESIZED, Reason.RELOADED)
    recycled = (Reason.MAX_JOBS, Reason.MAX_RSS, Reason.MAX_AGE)
    if isinstance(event, StartFailed):
        return f"worker {event.pid} cannot start: {event.text}"
    return str(event) if isinstance(event, Died) and event.reason not in planned + recycled else ""


def report_all(event: Event) -> None:
    """Tell everything."""
    from fastgear.supervisor.events import Died, Ready

    if isinstance(event, Died):
        note(f"fastgear: {event}")
    elif isinstance(event, Ready):
        note(f"fastgear: worker {event.pid} is ready")
    else:
        report(event)


def load(target: str) -> dict[str, Any]:
    """The functions that MODULE[:NAME] means, by name. Raises CommandError, saying what is missing."""
    module_name, _, name = target.partition(":")
    sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise CommandError(f"there is no module {error.name!r} here or among the installed packages", USAGE) from error
    found = getattr(module, name or "functions", None)
    if found is None:
        hint = "" if name else "; name one, MODULE:NAME, or define `functions`"
        raise CommandError(f"module {module_name!r} has no {name or 'functions'!r}{hint}", USAGE)
    if callable(found):
        return {getattr(found, "__name__", name): found}
    if isinstance(found, dict) and found and all(callable(call) for call in found.values()):
        return {str(key): call for key, call in found.items()}
    raise CommandError(f"{target} is neither a callable nor a mapping from names to callables", USAGE)
