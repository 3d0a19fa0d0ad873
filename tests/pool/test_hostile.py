# SPDX-License-Identifier: MIT
"""Tasks and programs that misbehave: each costs itself, and leaves nothing behind."""

from __future__ import annotations

import concurrent.futures
import ctypes
import gc
import os
import signal
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import fastgear
from fastgear import Executor, Pool, WorkerDied
from pool.scripts import Script, eventually, run
from pool.work import (
    Counter,
    close_everything,
    close_standard,
    fork_and_leave,
    fork_and_return,
    ignore_term,
    square,
    start_thread,
)

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no pool")


@pytest.fixture
def executor() -> Iterator[Executor]:
    with Executor(2) as made:
        yield made


# -- tasks


@pytest.mark.parametrize(
    "task", [start_thread, close_standard, ignore_term, fork_and_leave, os.setsid, lambda: os.chdir("/")]
)
def test_what_a_task_may_do_to_its_process(executor: Executor, task: Callable[[], Any]) -> None:
    assert executor.submit(task).exception(20) is None or task is os.setsid  # which a leader of a group may not
    for _ in range(3):
        assert list(executor.map(square, range(50))) == [i * i for i in range(50)]


@pytest.mark.parametrize("task", [lambda: os._exit(3), os.abort, close_everything, lambda: ctypes.string_at(0)])
def test_what_kills_a_worker_costs_the_task(executor: Executor, task: Callable[[], Any]) -> None:
    with pytest.raises(WorkerDied):
        executor.submit(task).result(20)
        assert task is close_everything  # which dies after its result is recorded, at the latest when it sends that
        raise WorkerDied("after it had finished")
    assert list(executor.map(square, range(50))) == [i * i for i in range(50)]


def test_a_task_that_comes_back_twice_counts_once(executor: Executor) -> None:
    for _ in range(20):
        assert executor.submit(fork_and_return).result(20) > 0
    assert list(executor.map(square, range(200))) == [i * i for i in range(200)]


def test_a_worker_that_ignores_sigterm_leaves_all_the_same() -> None:
    executor = Executor(1)
    executor.submit(ignore_term).result(20)
    begun = time.monotonic()
    executor.shutdown()
    assert time.monotonic() - begun < 5


def test_a_task_that_kills_the_supervisor_fails_the_pool_and_not_the_program() -> None:
    executor = Executor(2)
    with pytest.raises(fastgear.FastgearError):
        executor.submit(lambda: (os.kill(os.getppid(), signal.SIGKILL), time.sleep(20))).result(20)
    with pytest.raises(fastgear.FastgearError):
        executor.submit(square, 1).result(20)
    executor.shutdown()


@pytest.mark.skipif("os.environ.get('FASTGEAR_ASAN') == '1'", reason="its own mappings are past the limit")
def test_a_task_that_takes_all_memory_is_named(executor: Executor) -> None:
    def grow() -> int:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        return len([bytearray(1 << 24) for _ in range(1000)])

    with pytest.raises(MemoryError):
        executor.submit(grow).result(30)


def test_pools_within_tasks() -> None:
    def inner(n: int) -> list[int]:
        with Executor(2) as executor:
            return list(executor.map(square, range(n)))

    with Pool(2) as pool:
        assert pool.map(inner, [3, 4]) == [[0, 1, 4], [0, 1, 4, 9]]


# -- programs


def test_pools_in_twenty_threads_at_once() -> None:
    results: list[object] = []

    def use() -> None:
        try:
            with Executor(1) as executor:
                results.append(list(executor.map(square, range(20))))
        except fastgear.CannotStart as error:
            results.append(error.remote_traceback)

    threads = [threading.Thread(target=use) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [[i * i for i in range(20)]] * 20


def test_an_executor_that_is_forgotten_finishes_and_leaves_nothing() -> None:
    executor: Executor | None = Executor(2)
    assert executor is not None
    futures = [executor.submit(square, i) for i in range(100)]
    results = executor.map(square, range(10))
    del executor
    gc.collect()
    assert list(results) == [i * i for i in range(10)]
    assert [future.result(20) for future in futures] == [i * i for i in range(100)]
    assert eventually(lambda: not any(thread.name.startswith("fastgear-pool") for thread in threading.enumerate()))


def test_a_pool_that_is_forgotten_warns_and_leaves_nothing() -> None:
    pool: Pool | None = Pool(1)
    assert pool is not None
    result = pool.map_async(square, range(10))
    del pool
    assert result.get(20) == [i * i for i in range(10)]
    with pytest.warns(ResourceWarning, match="nobody has closed"):
        del result
        gc.collect()
    assert eventually(lambda: not any(thread.name.startswith("fastgear-pool") for thread in threading.enumerate()))


def test_an_executor_in_a_fork_says_that_it_is_none(executor: Executor, capfd: pytest.CaptureFixture[str]) -> None:
    pending = executor.submit(time.sleep, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            try:
                executor.submit(square, 1)
            except RuntimeError as error:
                code = 2 if "belongs to process" in str(error) else 3
            try:
                pending.result(5)
            except RuntimeError:
                code += 10
            executor.shutdown()
            with Executor(1) as own:
                code += own.submit(square, 10).result(20)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 112
    assert pending.result(20) is None
    assert executor.submit(square, 3).result(20) == 9


@pytest.mark.parametrize("large", [False, True])
def test_calls_know_nothing_of_each_other(large: bool) -> None:
    counter = Counter("x" * 100_000 if large else "")
    state = {"count": 0}

    def add() -> int:
        state["count"] += 1
        return state["count"] + 0 * len(counter.ballast)

    with Executor(1) as executor:
        list(executor.map(counter.add, range(3)))
        assert [executor.submit(counter.add).result(20) for _ in range(3)] == [1, 1, 1]
        assert [executor.submit(add).result(20) for _ in range(3)] == [1, 1, 1]
        futures = [executor.submit(counter.add) for _ in range(30)]
        assert [future.result(20) for future in futures] == [1] * 30


def test_forks_go_on_while_threads_wait_for_results(tmp_path: Path) -> None:
    """A loop that stood still for a fork had its lock held, for which a thread waited with the GIL, which the fork needed."""
    code = """
import os, threading, time
from fastgear import Executor

def work():
    while not over:
        list(executor.map(abs, range(200)))
        executor.submit(abs, 1).result()

over = False
executor = Executor(2)
executor.submit(abs, 1).result()
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(200):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    time.sleep(0.003)
over = True
for thread in threads:
    thread.join()
executor.shutdown()
print("done")
"""
    assert run(tmp_path, code) == "done\n"


def test_an_executor_is_shut_down_in_a_fork_whatever_its_parents_threads_were_at(executor: Executor) -> None:
    executor.submit(square, 1).result(20)
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with executor._engine.lock:
            held.set()
            go_on.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        executor.shutdown(cancel_futures=True)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    go_on.set()
    thread.join()
    assert code == 0


def test_a_fork_that_ends_as_usual_does_not_end_its_parents_pool(tmp_path: Path) -> None:
    text = """
import os, sys
from fastgear import Executor
executor = Executor(1)
print(executor.submit(abs, -1).result(20), flush=True)
if os.fork() == 0:
    sys.exit(0)
os.wait()
print(executor.submit(abs, -2).result(20))
"""
    assert run(tmp_path, text) == "1\n2\n"


@pytest.mark.parametrize("ending", ["", "executor.shutdown(wait=False)", "del executor; import gc; gc.collect()"])
def test_a_program_that_ends_finishes_what_it_has_submitted(tmp_path: Path, ending: str) -> None:
    text = f"""
import time
from fastgear import Executor
def slow(x):
    time.sleep(0.2)
    print("done", x, flush=True)
executor = Executor(1)
for i in range(3):
    executor.submit(slow, i)
{ending}
"""
    assert run(tmp_path, text).split() == ["done", "0", "done", "1", "done", "2"]


def test_a_program_that_ends_with_an_open_pool_ends_it(tmp_path: Path) -> None:
    begun = time.monotonic()
    text = "import fastgear, time\npool = fastgear.Pool(2)\nr = pool.map_async(time.sleep, [60] * 4)\ntime.sleep(0.2)\n"
    assert run(tmp_path, text) == ""
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    "work",
    [
        "list(executor.map(time.sleep, [60] * 10))",
        "executor.submit(time.sleep, 60).result()",
        "executor.submit(time.sleep, 60); executor.shutdown()",
        "executor.submit(time.sleep, 60); executor.shutdown(wait=False); time.sleep(60)",
        "[executor.submit(abs, i) for i in range(10**9)]",
        "[executor.submit(abs, i).result() for i in range(10**9)]",
        "[list(executor.map(abs, range(1000))) for i in range(10**9)]",
        "concurrent.futures.wait([executor.submit(time.sleep, 60)])",
        "fastgear.map(time.sleep, [60] * 10)",
    ],
)
@pytest.mark.parametrize("within", [True, False])
def test_an_interrupt_ends_a_program_at_once(tmp_path: Path, work: str, within: bool) -> None:
    text = """
import concurrent.futures, fastgear, threading, time
from fastgear import Executor
def tell(): time.sleep(0.3); print("busy", flush=True)
executor = Executor(2)
executor.submit(abs, 1).result()
threading.Thread(target=tell, daemon=True).start()
"""
    script = Script(tmp_path, text + (f"with executor:\n    {work}\n" if within else f"{work}\n"))
    assert script.line() == "busy"
    processes = script.descendants()
    assert len(processes) >= 3
    os.killpg(script.process.pid, signal.SIGINT)
    begun = time.monotonic()
    code, _, err = script.end(10)
    assert time.monotonic() - begun < 2
    assert err.count("Traceback") == 1 + err.count("During handling") and err.rstrip().endswith("KeyboardInterrupt"), (
        err
    )
    assert code == -signal.SIGINT
    script.nothing_left(processes)


def test_an_interrupt_while_it_waits_does_not_harm_a_pool(tmp_path: Path) -> None:
    text = """
import os, signal, threading, time
from fastgear import Executor
with Executor(1) as executor:
    executor.submit(abs, 1).result()
    slow = executor.submit(time.sleep, 0.5)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        slow.result()
    except KeyboardInterrupt:
        print("interrupted")
    print(slow.result(20), executor.submit(abs, -3).result(20))
"""
    assert run(tmp_path, text) == "interrupted\nNone 3\n"


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_nothing_is_left_of_a_program_that_is_killed(tmp_path: Path, start: str) -> None:
    text = f"""
import time
from fastgear import Executor
executor = Executor(2, start_method="{start}")
executor.submit(abs, 1).result()
print("ready", flush=True)
executor.submit(time.sleep, 60).result()
"""
    script = Script(tmp_path, text)
    assert script.line() == "ready"
    assert eventually(lambda: len(script.descendants()) == 3)
    processes = script.descendants()
    script.process.kill()
    script.end()
    script.nothing_left(processes)


# -- where functions come from


_MAIN = """
from fastgear import Executor
def f(x): return x + 1

executor = Executor(2, start_method="{start}")
print(list(executor.map(f, [1, 2])))
def f(x): return x + 10

def g(x): return f(x) * 2

print(list(executor.map(g, [1, 2])), executor.submit(f, 1).result())
def f(x): return x + 100

print(list(executor.map(g, [1, 2])), executor.submit(f, 1).result())
executor.shutdown()
"""


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("how", ["file", "stdin", "interactive"])
def test_functions_of_main_are_those_of_now(tmp_path: Path, start: str, how: str) -> None:
    assert run(tmp_path, _MAIN.format(start=start), how) == "[2, 3]\n[22, 24] 11\n[202, 204] 101\n"


_CLASSES = """
from fastgear import Executor
def helper(x): return x + 1

class Shape:
    def __init__(self, x): self.x = x
    def area(self): return helper(self.x)
    @classmethod
    def of(cls, x): return cls(x)
    @staticmethod
    def twice(x): return helper(x) * 2

def use(x): return Shape.of(x).area() + Shape.twice(x)
def same(shape): return isinstance(shape, Shape), Shape(2)

executor = Executor(1, start_method="{start}")
print(executor.submit(use, 1).result())
def helper(x): return x + 100

print(executor.submit(use, 1).result())
class Shape:
    def __init__(self, x): self.x = x
    def area(self): return 0
    of, twice = Shape.__dict__["of"], Shape.__dict__["twice"]

print(executor.submit(use, 1).result())
knows, made = executor.submit(same, Shape(1)).result()
print(knows, type(made) is Shape)
executor.shutdown()
"""


@pytest.mark.parametrize("how", ["file", "stdin"])
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_classes_of_main_are_those_of_now(tmp_path: Path, start: str, how: str) -> None:
    assert run(tmp_path, _CLASSES.format(start=start), how) == "6\n303\n202\nTrue True\n"


def test_a_pool_starts_where_the_folder_is_gone(tmp_path: Path) -> None:
    code = """
import os, tempfile
from fastgear import Executor

folder = tempfile.mkdtemp()
os.chdir(folder)
os.rmdir(folder)
with Executor(1) as executor:
    print(executor.submit(abs, -3).result())
"""
    assert run(tmp_path, code) == "3\n"


def test_a_script_without_a_guard_is_not_run_again(tmp_path: Path) -> None:
    text = """
print("main")
import fastgear
class Thing:
    def __init__(self, x): self.x = x
def double(thing): return Thing(thing.x * 2)
with fastgear.Pool(2, start_method="spawn") as pool:
    print([thing.x for thing in pool.map(double, [Thing(1), Thing(2)])])
"""
    assert run(tmp_path, text) == "main\n[2, 4]\n"


# -- callbacks and iterators


def test_callbacks_may_submit(executor: Executor) -> None:
    seen: list[int] = []

    def more(future: Any) -> None:
        seen.append(future.result())
        if len(seen) < 50:
            executor.submit(square, len(seen)).add_done_callback(more)

    executor.submit(square, 0).add_done_callback(more)
    assert eventually(lambda: len(seen) == 50)
    assert seen == [i * i for i in range(50)]


def test_callbacks_that_submit_during_a_shutdown_get_an_error() -> None:
    errors: list[BaseException] = []

    def more(_: object) -> None:
        try:
            executor.submit(square, 1)
        except RuntimeError as error:
            errors.append(error)

    executor = Executor(1)
    executor.submit(time.sleep, 0.2).add_done_callback(more)
    executor.shutdown()
    assert eventually(lambda: len(errors) == 1)


def test_an_iterator_may_use_the_pool_that_maps_it() -> None:
    with Pool(2) as pool:

        def items() -> Iterator[int]:
            for i in range(20):
                yield pool.apply(square, (i,))

        assert list(pool.imap(square, items())) == [i**4 for i in range(20)]
        assert pool.map(square, items()) == [i**4 for i in range(20)]


def test_results_that_are_dropped_half_way_stop_their_map(executor: Executor) -> None:
    for _ in range(20):
        results = executor.map(time.sleep, [0.001] * 100_000)
        next(results)
        del results
    begun = time.monotonic()
    assert executor.submit(square, 3).result(20) == 9
    assert time.monotonic() - begun < 5


def test_causes_contexts_and_groups_arrive(executor: Executor) -> None:
    def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    error = executor.submit(fail).exception(20)
    assert isinstance(error, ValueError)
    assert "KeyError: 'first'" in str(error.__cause__) and "direct cause" in str(error.__cause__)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="has no groups of exceptions")
def test_groups_of_exceptions_arrive(executor: Executor) -> None:
    def fail() -> None:
        import builtins

        raise builtins.ExceptionGroup("both", [ValueError("one"), OSError(2, "two")])  # type: ignore[attr-defined]

    group = executor.submit(fail).exception(20)
    assert [type(error) for error in group.exceptions] == [ValueError, FileNotFoundError]  # type: ignore[union-attr]


def test_generators_as_items_are_refused_one_by_one(executor: Executor) -> None:
    results = executor.map(square, [1, (i for i in range(3)), 3])  # type: ignore[list-item]
    assert next(results) == 1
    with pytest.raises(TypeError, match="generator"):
        next(results)


def test_an_item_that_cannot_be_pickled_costs_itself_only() -> None:
    with Pool(1) as pool:
        run = pool.imap(str, [1, threading.Lock(), 3, 4], chunksize=4)
        outcomes: list[Any] = []
        for _ in range(4):
            try:
                outcomes.append(next(run))
            except TypeError:
                outcomes.append(TypeError)
        assert outcomes == ["1", TypeError, "3", "4"]
        assert pool.map(str, [1]) == ["1"]


def test_many_tiny_calls_take_little_memory() -> None:
    process = psutil.Process()
    with Executor(2) as executor:
        executor.submit(square, 1).result(20)
        before = process.memory_info().rss
        futures = [executor.submit(square, i) for i in range(200_000)]
        assert futures[-1].result(120) == 199_999**2
        assert sum(future.result() for future in futures) == sum(i * i for i in range(200_000))
        assert process.memory_info().rss - before < 600 << 20


# -- the end


def test_a_callback_may_shut_down_what_is_being_shut_down() -> None:
    def end(_future: Any) -> None:
        begun.set()
        time.sleep(0.2)  # by now the other one waits for this callback
        executor.shutdown()
        ended.append(True)

    begun = threading.Event()
    ended: list[bool] = []
    executor = Executor(1)
    executor.submit(square, 1).add_done_callback(end)
    begun.wait(20)
    executor.shutdown()
    assert ended


def test_a_callback_may_end_a_pool_whose_workers_cannot_start(tmp_path: Path) -> None:
    text = """
        import fastgear

        def end(error):
            pool.terminate()
            print("ended")

        pool = fastgear.Pool(2, divmod, (1, 0))
        try:
            pool.apply_async(abs, (1,), error_callback=end).get(20)
        except fastgear.CannotStart:
            print("failed")
        pool.terminate()
        pool.join()
    """
    assert run(tmp_path, textwrap.dedent(text)).split() == ["ended", "failed"]


def test_an_end_that_was_interrupted_can_be_done_again() -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    executor = Executor(1, initializer=time.sleep, initargs=(60,))
    future = executor.submit(square, 1)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            executor._engine.close(kill=False)  # waits for the initializer
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    executor.kill_workers()
    assert future.cancelled() or isinstance(future.exception(0), concurrent.futures.CancelledError)
