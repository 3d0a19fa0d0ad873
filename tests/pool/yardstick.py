# SPDX-License-Identifier: MIT
"""CPython's own tests of ProcessPoolExecutor and multiprocessing.Pool, run on Executor and Pool. See docs/pool-yardstick.md.

It takes the classes of the running Python's `test` package, puts ours in the place of what they test, and runs each case;
those in `NOT_OURS` are about something that ours has not. A program of its own, since it changes modules of Python's:

    python tests/pool/yardstick.py executor-fork [NAME...]     run a group, or the cases of it that have such names
    python tests/pool/yardstick.py table                       write the table in the documentation
"""

from __future__ import annotations

import concurrent.futures.process
import faulthandler
import functools
import importlib
import multiprocessing.pool
import os
import pickle
import pkgutil
import re
import signal
import sys
import sysconfig
import time
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastgear
from fastgear.pool.futures import HelpingFuture
from fastgear.pool.outcome import RemoteTraceback

_HERE = Path(__file__).parent
PAGE = _HERE.parents[1] / "docs/pool-yardstick.md"
_MOST_S = 60  # for a case
GROUPS = ("executor-fork", "executor-spawn", "pool")

# name of a class and case, and why it is none of ours
NOT_OURS = {
    "FailingInitializer.test_initializer": "looks at `_broken` and at the log of CPython's worker",
    "ProcessPoolShutdown.test_hang_gh83386": "CPython skips it, since its own hangs; tests/pool/test_hostile.py has the same",
    "ProcessPoolExecutor.test_killed_child": "expects that one death breaks the whole pool",
    "ProcessPoolExecutor.test_idle_process_reuse_one": "counts processes that are started on demand; ours start together",
    "ProcessPoolExecutor.test_idle_process_reuse_multiple": "counts processes that are started on demand",
    "ProcessPoolShutdown.test_processes_terminate": "counts processes that are started on demand",
    "ProcessPoolExecutor.test_max_tasks_per_child_defaults_to_spawn_context": "looks at `_mp_context`",
    "ProcessPoolExecutor.test_max_workers_too_large": "Windows only",
    "ExecutorDeadlock.test_gh105829_should_not_deadlock_if_wakeup_pipe_full": "replaces CPython's wake-up pipe",
    "Future.test_multiple_set_result": "compares the text of an internal error, with the name of the class",
    "Future.test_multiple_set_exception": "compares the text of an internal error, with the name of the class",
    "Pool.test_imap_handle_iterable_exception": "expects that results before the error are lost when they share its chunk",
    "Pool.test_resource_warning": "sets `_state` to a constant of multiprocessing",
    "PoolWorkerErrors.test_unpickleable_result": "returns a lambda, which ours can send",
}
NOT_OURS_FORKED = {
    "ProcessPoolExecutor.test_max_tasks_per_child": "with fork CPython refuses it",
}


# -- in the place of what is tested


class _Process:
    """What the cases ask of a worker process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def join(self) -> None:
        deadline = time.monotonic() + 10
        while self.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not self.is_alive(), f"worker {self.pid} is left"

    def is_alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class _Nothing:
    def join(self) -> None: ...

    join_thread = join


def _processes(engine: Any, count: int) -> list[_Process]:
    deadline = time.monotonic() + 10
    while len(infos := engine.stats().workers) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return [_Process(info.pid) for info in infos]


class ProcessPoolExecutor(fastgear.Executor):
    """Ours, with an `mp_context` and the few insides that the cases look at."""

    _call_queue = _Nothing()

    def __init__(self, max_workers: int | None = None, mp_context: Any = None, **options: Any) -> None:
        method = mp_context.get_start_method() if mp_context is not None else "auto"
        super().__init__(max_workers, start_method=method, **options)
        self._max_workers = max_workers

    @property
    def _processes(self) -> dict[int, _Process]:
        return {process.pid: process for process in _processes(self._engine, self._max_workers or 1)}

    @property
    def _executor_manager_thread(self) -> Any:
        return self._engine._processes.listener


class Pool(fastgear.Pool):
    @property
    def _pool(self) -> list[_Process]:
        return _processes(self._engine, self._engine.workers)

    def _repopulate_pool(self) -> None: ...


def _ended_engine() -> Any:
    """For futures that the cases set themselves, so that nobody helps."""
    with ProcessPoolExecutor(1) as executor:
        return executor._engine


# What happens to the task where CPython's pool breaks.
_COSTS_ONE_TASK = (fastgear.WorkerDied, fastgear.TransferError, pickle.UnpicklingError, SystemExit)


def _script(run: Callable[..., Any]) -> Callable[..., Any]:
    """`assert_python_ok` with a script about ours."""

    def call(*words: str, **env: str) -> Any:
        text = re.sub(r"from (concurrent.futures|multiprocessing) import (ProcessPoolExecutor|Pool)", _ours, words[-1])
        text = text.replace("from test.test_concurrent", "from test_concurrent")
        path = os.pathsep.join(filter(None, (str(_HERE), folder(), os.environ.get("PYTHONPATH"))))
        return run(*words[:-1], text, **{"__isolated": False, "__cwd": "/", "PYTHONPATH": path, **env})

    return call


def _ours(match: re.Match[str]) -> str:
    return f"from yardstick import {match[2]}"


# -- what is tested


def folder() -> str | None:
    """Of the tests of this very version of Python. Some builds leave part of them out, and Debian has a package for them."""
    version = "python" + sysconfig.get_python_version()
    places = [Path(sysconfig.get_path("stdlib")), Path("/usr/lib") / version]
    for place in [os.environ.get("FASTGEAR_CPYTHON_TESTS"), *(place / "test" for place in places)]:
        if (
            place
            and any(Path(place).glob("test_concurrent_futures*"))
            and Path(place, "_test_multiprocessing.py").exists()
        ):
            return str(place)
    return None


def _modules(name: str) -> Iterator[Any]:
    module = importlib.import_module(name)
    yield module
    for part in pkgutil.iter_modules(getattr(module, "__path__", ())):
        yield importlib.import_module(f"{name}.{part.name}")


def _executor_cases(context: str) -> Iterator[type[unittest.TestCase]]:
    modules = list(_modules("test_concurrent_futures"))
    named = {name: kind for module in modules for name, kind in vars(module).items() if isinstance(kind, type)}
    concurrent.futures.ProcessPoolExecutor = ProcessPoolExecutor  # type: ignore
    concurrent.futures.process._RemoteTraceback = RemoteTraceback  # type: ignore
    for module in modules:
        module.BrokenProcessPool = _COSTS_ONE_TASK
        module.PicklingError = (pickle.PicklingError, fastgear.TransferError)
        if hasattr(module, "assert_python_ok"):
            module.assert_python_ok = _script(module.assert_python_ok)
        if hasattr(module, "create_future"):
            module.Future = functools.partial(HelpingFuture, _ended_engine())
    mixin, base = named[f"ProcessPool{context.capitalize()}Mixin"], named["BaseTestCase"]
    mixin.executor_type = ProcessPoolExecutor
    for name in (
        "ProcessPoolExecutorTest", "ProcessPoolShutdownTest", "WaitTests", "AsCompletedTests", "ExecutorDeadlockTest",
        "InitializerMixin", "FailingInitializerMixin",
    ):  # fmt: skip
        yield type(name, (named[name], mixin, base), {"__module__": "yardstick"})
    if context == "fork":
        yield type("FutureTests", (named["FutureTests"],), {"__module__": "yardstick"})


def _pool_cases() -> Iterator[type[unittest.TestCase]]:
    module = importlib.import_module("_test_multiprocessing")
    module.__dict__["test"].support.script_helper.assert_python_ok = _script(
        importlib.import_module("test.support.script_helper").assert_python_ok
    )
    multiprocessing.Pool = Pool  # type: ignore
    multiprocessing.pool.RemoteTraceback = RemoteTraceback  # type: ignore
    for name in ("_TestPool", "_TestPoolWorkerErrors", "_TestPoolWorkerLifetime"):
        words = {"TYPE": "processes", "Pool": Pool, "__module__": "yardstick"}
        yield type(name.strip("_"), (getattr(module, name), unittest.TestCase), words)
    for name, case in (("TestInitializers", "pool_initializer"), ("TestStdinBadfiledescriptor", "pool_in_process")):
        inherited = getattr(module, name)
        others = {other: None for other in dir(inherited) if other.startswith("test_") and other != f"test_{case}"}
        yield type(name, (inherited,), {**others, "__module__": "yardstick"})


def _cases(group: str) -> Iterator[unittest.TestCase]:
    for case in _classes(group):
        globals()[case.__name__] = case
        yield from unittest.defaultTestLoader.loadTestsFromTestCase(case)  # type: ignore


def _classes(group: str) -> Iterator[type[unittest.TestCase]]:
    kind, _, context = group.partition("-")
    return _executor_cases(context) if kind == "executor" else _pool_cases()


def __getattr__(name: str) -> type[unittest.TestCase]:
    """A case's class, in a worker that is a fresh interpreter."""
    if name != "ProcessPoolExecutorTest":  # the only one that is pickled
        raise AttributeError(name)
    return next(kind for kind in _classes("executor-spawn") if kind.__name__ == name)


def _name(case: unittest.TestCase) -> str:
    _, kind, method = case.id().rsplit(".", 2)
    return f"{re.sub('^Test|(Mixin|Tests?)$', '', kind)}.{method}"


# -- running


class _Result(unittest.TextTestResult):
    def startTest(self, test: unittest.TestCase) -> None:
        signal.alarm(_MOST_S)
        self._begun = time.monotonic()
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        signal.alarm(0)
        self.stream.writeln(f"    {_name(test)} {time.monotonic() - self._begun:.1f} s")


def run(group: str, names: list[str]) -> bool:
    left_out = NOT_OURS | (NOT_OURS_FORKED if group == "executor-fork" else {})
    cases = [case for case in _cases(group) if (_name(case) in names if names else _name(case) not in left_out)]
    runner = unittest.TextTestRunner(resultclass=_Result, verbosity=0, failfast=False)
    return runner.run(unittest.TestSuite(cases)).wasSuccessful()


def table() -> str:
    """Each case once, whatever it is run with."""
    names = {_name(case): group.split("-")[0] for group in reversed(GROUPS) for case in _cases(group)}
    lines = ["| case | |", "|---|---|"]
    words = {name: f"passes; {why}, ours does not" for name, why in NOT_OURS_FORKED.items()} | NOT_OURS
    lines += [f"| {name} | {words.get(name, 'passes')} |" for name in sorted(names)]
    return "\n".join(lines) + "\n"


def main(group: str, *names: str) -> int:
    tests = folder()
    if tests is None:
        print("this Python has no tests: there is no test_concurrent_futures in its package `test`")
        return 77
    sys.path.append(tests)
    faulthandler.register(signal.SIGALRM, chain=True)  # no thread that waits, or ours would not fork
    sys.modules.setdefault("yardstick", sys.modules[__name__])
    if group == "table":
        page = Path(names[0]) if names else PAGE
        start, _, _ = page.read_text().partition("| case |") if page.exists() else ("", "", "")
        page.write_text(start + table())
        return 0
    return 0 if run(group, list(names)) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
