# SPDX-License-Identifier: MIT
"""``fastgear worker MODULE[:NAME]``: run a module's functions as a worker."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from typing import Any

from fastgear.cli.common import USAGE, CommandError, add_server, note, servers

EXAMPLES = """\
MODULE is imported from the current folder or the installed packages. NAME in it is either a mapping from function names
to callables, or one callable, which gives its own name to the function; without NAME, the mapping `functions` is taken.

examples:
  fastgear worker myapp.tasks                    functions = {"reverse": reverse, "resize": resize}
  fastgear worker myapp.tasks:reverse            def reverse(job): return job.workload[::-1]
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    add_server(parser, several=True)
    parser.add_argument("target", metavar="MODULE[:NAME]")
    parser.add_argument("-n", "--processes", type=int, default=1, help="worker processes (only 1 so far)")
    parser.add_argument("--prefetch", type=int, default=1, help="jobs asked for ahead of time (default: 1)")
    parser.add_argument("--client-id", help="the name that the server's list of workers shows (default: MODULE:PID)")
    parser.add_argument("--timeout", type=float, help="seconds after which a job is given to another worker")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")


def run(args: argparse.Namespace) -> int:
    from fastgear.worker.worker import Worker

    if args.processes != 1:
        raise CommandError("-n: only one process so far; start the command several times for more", USAGE)
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(levelname)s %(message)s")
    functions = load(args.target)
    worker = Worker(*servers(args), prefetch=args.prefetch, client_id=args.client_id or f"{args.target}:{os.getpid()}")
    for name, call in functions.items():
        worker.register(name, call, timeout=args.timeout)
    note(f"fastgear: working on {', '.join(worker.functions)} for {', '.join(servers(args))}")
    worker.run()
    return 0


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
