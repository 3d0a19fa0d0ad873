# SPDX-License-Identifier: MIT
"""Executor, Pool and map: what they promise, one sentence each. fastgear's only."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastgear
from fastgear import ConfigError, Executor, Pool, RemoteError, TransferError, WorkerDied
from pool.scripts import all_there
from pool.work import Odd, Unreadable, crash, die_at, raise_stubborn, square

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no pool")


@pytest.fixture(scope="module")
def shared() -> Iterator[Executor]:
    with Executor(2) as executor:
        executor.submit(square, 1).result(20)  # now, so that no test is blamed for what is started
        assert all_there(executor)
        yield executor


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(2) as made:
        yield made


# -- results and errors


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -1, 2**62, -(2**63), 2**63, 2**200, 1.5, float("inf"), "", "ä€😀", "a\0b", "\ud800", b"",
        b"\0" * 300_000,
        "x" * 500_000, (), [1, "a", None], {"k": (1, 2.0)}, {1, 2}, range(5), complex(1, 2), Path("a/b"), int, len,
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_values_go_and_come_back_as_they_are(shared: Executor, value: Any) -> None:
    (back,) = shared.map(lambda x: x, [value])
    assert back == value and type(back) is type(value)
    assert shared.submit(lambda x: x, value).result(20) == value


def test_a_call_gets_its_arguments_by_place_and_by_name(shared: Executor) -> None:
    assert shared.submit(lambda *args, **kwargs: (args, kwargs), 1, 2, a=3).result(20) == ((1, 2), {"a": 3})


def test_lambdas_closures_partials_and_methods(shared: Executor) -> None:
    from functools import partial

    class Adder:
        def __init__(self, n: int) -> None:
            self.n = n

        def add(self, x: int) -> int:
            return self.n + x

    n = 10
    assert list(shared.map(lambda x: x + n, [1, 2])) == [11, 12]
    assert list(shared.map(partial(pow, 2), [3, 4])) == [8, 16]
    assert list(shared.map(Adder(5).add, [1, 2])) == [6, 7]


def test_an_exception_arrives_as_itself_with_the_workers_traceback(shared: Executor) -> None:
    def fail(x: int) -> None:
        raise KeyError("no", x)

    with pytest.raises(KeyError) as caught:
        shared.submit(fail, 7).result(20)
    assert caught.value.args == ("no", 7)
    assert "in fail" in str(caught.value.__cause__) and "KeyError: ('no', 7)" in str(caught.value.__cause__)


def test_an_exception_that_cannot_be_rebuilt_is_told_of(shared: Executor) -> None:
    with pytest.raises(RemoteError, match="Stubborn: 1 and 2") as caught:
        shared.submit(raise_stubborn).result(20)
    assert caught.value.kind == "Stubborn" and "raise Stubborn(1, 2)" in caught.value.remote_traceback


def test_an_exception_whose_text_raises_is_told_of_by_its_kind(shared: Executor) -> None:
    def fail() -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise ValueError("no words")

            def __reduce__(self) -> Any:
                raise ValueError("no way")

        raise Mute

    with pytest.raises(RemoteError, match="Mute: its text raises, too") as caught:
        shared.submit(fail).result(20)
    assert caught.value.kind == "Mute"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), RecursionError("deep"), MemoryError()])
def test_whatever_a_task_raises_the_worker_lives(shared: Executor, error: BaseException) -> None:
    def fail() -> int:
        raise error

    with pytest.raises(type(error)):
        shared.submit(fail).result(20)
    assert shared.submit(square, 3).result(20) == 9


def test_sys_exit_in_a_task_is_an_exception(shared: Executor) -> None:
    with pytest.raises(SystemExit):
        shared.submit(sys.exit, 1).result(20)


def test_endless_recursion_in_a_task_is_an_exception(shared: Executor) -> None:
    def deeper(n: int) -> int:
        return deeper(n + 1) + 1

    with pytest.raises(RecursionError):
        shared.submit(deeper, 0).result(20)


def test_a_result_that_cannot_be_pickled_is_named(shared: Executor) -> None:
    with pytest.raises(TransferError, match="result, of type lock"):
        shared.submit(lambda: __import__("threading").Lock()).result(20)
    assert list(shared.map(square, [2])) == [4]


def test_an_argument_that_cannot_be_pickled_fails_its_task_only(shared: Executor) -> None:
    lock = threading.Lock()
    assert isinstance(shared.submit(square, lock).exception(20), TypeError)  # type: ignore[arg-type]
    run = shared.map(lambda x: x if isinstance(x, int) else 0, [1, lock, 3])
    assert next(run) == 1
    with pytest.raises(TypeError, match="pickle"):
        next(run)


def test_a_result_that_cannot_be_unpickled_is_an_exception(shared: Executor) -> None:
    with pytest.raises(TransferError, match="cannot be unpickled here: ValueError: not here"):
        shared.submit(Unreadable).result(20)
    with pytest.raises(ValueError, match="not here"):
        shared.submit(square, Unreadable()).result(20)  # type: ignore[arg-type]


def test_one_bad_argument_among_thousands_fails_alone(shared: Executor) -> None:
    items: list[Any] = list(range(5000))
    items[4321] = threading.Lock()
    run = shared.map(type, items)
    for _ in range(4321):
        assert next(run) is int
    with pytest.raises(TypeError, match="pickle"):
        next(run)
    with Pool(1) as pool:
        outcomes, errors = [], 0
        again = pool.imap(type, items)
        while True:
            try:
                outcomes.append(next(again))
            except StopIteration:
                break
            except TypeError:
                errors += 1
        assert (len(outcomes), errors) == (4999, 1)


MAIN = """
from fastgear import Executor
X = None
class Thing:
    def __init__(self, value): self.value = value
def begin(value):
    global X
    X = value
def helper(): return X
def use(thing): return X, helper(), thing.value
def make(value): return Thing(value)
if __name__ == "__main__":
    for how in ("fork", "spawn"):
        with Executor(1, initializer=begin, initargs=(42,), start_method=how) as executor:
            print(executor.submit(use, Thing(1)).result(60), list(executor.map(use, [Thing(2)])))
            print(isinstance(executor.submit(make, 5).result(60), Thing))
            exec("def late(x): return x + 1, helper()\\nclass Late(Thing): pass", globals())
            print(executor.submit(late, 1).result(60), executor.submit(use, Late(7)).result(60))
"""


def test_what_main_defines_and_an_initializer_sets_is_there_early_and_late(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "main.py").write_text(MAIN)
    done = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    expected = "(42, 42, 1) [(42, 42, 2)]\nTrue\n(2, 42) (42, 42, 7)\n" * 2
    assert (done.stdout, done.stderr) == (expected, "")


# -- maps


def test_maps_keep_the_order_whatever_the_durations(shared: Executor) -> None:
    def slow(x: int) -> int:
        time.sleep(0.002 if x % 7 == 0 else 0)
        return x

    assert list(shared.map(slow, range(300))) == list(range(300))


def test_a_map_of_several_iterables_ends_with_the_shortest(shared: Executor) -> None:
    assert list(shared.map(pow, [2, 3, 4], [5, 2])) == [32, 9]
    assert list(shared.map(square, [])) == []


def test_a_lazy_map_takes_no_more_than_its_window(shared: Executor) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(1000):
            taken.append(i)
            yield i

    run = shared.map(square, items(), buffersize=10)
    for i in range(500):
        assert next(run) == i * i
        assert len(taken) <= i + 1 + 10
    run.close()  # type: ignore[attr-defined]
    time.sleep(0.1)
    assert len(taken) <= 510


def test_ranges_longer_than_any_list() -> None:
    with Pool(1) as pool:
        with pytest.raises(OverflowError):
            pool.map(square, range(2**70))
        assert list(itertools.islice(pool.imap(square, range(2**70)), 3)) == [0, 1, 4]
        assert pool.map(square, range(3)) == [0, 1, 4]


def test_an_endless_generator_is_mapped_lazily(pool: Pool) -> None:
    import itertools

    run = pool.imap(square, itertools.count())
    assert [next(run) for _ in range(1000)] == [i * i for i in range(1000)]


def test_a_generator_that_raises_passes_it_on(pool: Pool) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    run = pool.imap(square, items())
    with pytest.raises(OSError, match="no more"):
        list(run)
    assert pool.map(square, [3]) == [9]


def test_imap_unordered_gives_each_result_once(pool: Pool) -> None:
    assert sorted(pool.imap_unordered(square, range(1000))) == [i * i for i in range(1000)]


def test_map_async_and_callbacks(pool: Pool) -> None:
    seen: list[Any] = []
    result = pool.map_async(square, range(100), callback=seen.append)
    assert result.get(20) == [i * i for i in range(100)]
    assert result.ready() and result.successful()
    failed = pool.apply_async(divmod, (1, 0), error_callback=seen.append)
    failed.wait(20)
    assert not failed.successful()
    deadline = time.monotonic() + 5
    while len(seen) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen[0] == [i * i for i in range(100)] and isinstance(seen[1], ZeroDivisionError)


def test_fastgear_map_is_one_line() -> None:
    assert fastgear.map(square, range(5), workers=2) == [0, 1, 4, 9, 16]
    assert fastgear.map(pow, [2, 3], [5, 2]) == [32, 9]


def test_results_that_nobody_takes_do_not_stop_the_others(shared: Executor) -> None:
    dropped = shared.map(square, range(10_000))
    assert shared.submit(square, 3).result(20) == 9
    del dropped


# -- futures


def test_futures_are_real_ones(shared: Executor) -> None:
    futures = [shared.submit(square, i) for i in range(200)]
    assert {f.result() for f in concurrent.futures.as_completed(futures, 20)} == {i * i for i in range(200)}
    done, pending = concurrent.futures.wait([shared.submit(time.sleep, 0.05) for _ in range(4)], 20)
    assert len(done) == 4 and not pending


@pytest.mark.alone("a second or less is measured")
def test_a_wait_with_a_timeout_ends(shared: Executor) -> None:
    future = shared.submit(time.sleep, 0.5)
    start = time.monotonic()
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(0.1)
    assert 0.09 < time.monotonic() - start < 0.4
    assert future.result(20) is None


def test_a_callback_may_wait_for_another_future(shared: Executor) -> None:
    other = shared.submit(square, 4)
    got: list[int] = []
    first = shared.submit(square, 2)
    first.add_done_callback(lambda _: got.append(other.result(20)))
    first.result(20)
    deadline = time.monotonic() + 20
    while not got and time.monotonic() < deadline:
        time.sleep(0.01)
    assert got == [16]


def test_what_was_not_sent_can_be_cancelled() -> None:
    with Executor(1) as executor:
        futures = [executor.submit(time.sleep, 0.1) for _ in range(20)]
        assert futures[-1].cancel() and futures[-1].cancelled()
        executor.shutdown(cancel_futures=True)
        assert sum(future.cancelled() for future in futures) > 10
        assert all(future.done() for future in futures)


def test_many_threads_submit_and_wait(shared: Executor) -> None:
    wrong: list[object] = []

    def use() -> None:
        for i in range(200):
            if shared.submit(square, i).result(20) != i * i:
                wrong.append(i)

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


# -- deaths


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_costs_the_task_it_was_at(number: int) -> None:
    with Pool(2) as pool:
        run = pool.imap(_dying(30, number), range(200))
        results, deaths = read(run)
        assert results == [i for i in range(200) if i != 30]
        died = deaths[-1]
        assert died.exit_code == -number and died.pid > 0
        assert "30" in died.task and signal.Signals(number).name in str(died)
        assert pool.map(square, range(10)) == [i * i for i in range(10)]


def read(run: Iterator[Any]) -> tuple[list[Any], list[WorkerDied]]:
    """To the end: the results, and what became of the tasks that cost a worker."""
    results: list[Any] = []
    deaths: list[WorkerDied] = []
    while True:
        try:
            results.append(next(run))
        except StopIteration:
            return results, deaths
        except WorkerDied as error:
            deaths.append(error)


def _dying(deadly: int, number: int) -> Any:
    import functools

    return functools.partial(die_at, deadly=deadly, number=number)


def test_finished_tasks_of_a_chunk_are_not_run_again(tmp_path: Path) -> None:
    """Each leaves a mark; the chunk is made large by quick tasks before it."""
    marks = tmp_path / "marks"

    def mark(x: int) -> int:
        if x >= 5000:
            with open(marks, "a") as file:
                file.write(f"{x}\n")
        if x == 5400:
            os._exit(3)
        return x

    with Pool(1) as pool:
        run = pool.imap(mark, range(6000), chunksize=1000)
        results, deaths = read(run)
    assert results == [i for i in range(6000) if i != 5400]
    assert deaths[-1].exit_code == 3
    assert sorted(map(int, marks.read_text().split())) == list(range(5000, 6000))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "pickled"])
def test_results_of_a_chunk_that_have_no_room_together_leave_ahead_of_its_end(packed: bool, tmp_path: Path) -> None:
    """Also those of a worker that dies: what has left is not run again, nor what has not."""
    marks = tmp_path / "marks"

    def page(x: int) -> Any:
        with open(marks, "a") as file:
            file.write(f"{x}\n")
        if x == 800:
            os._exit(3)
        return {"page": "x" * 1000 + str(x)} if packed else "x" * 1000 + str(x)

    with Pool(1) as pool:
        run = pool.imap(page, range(1000), chunksize=1000)
        results, deaths = read(run)
    texts = [result["page"] if packed else result for result in results]
    assert texts == ["x" * 1000 + str(x) for x in range(1000) if x != 800] and len(deaths) == 1
    assert sorted(map(int, marks.read_text().split())) == list(range(1000))


def test_an_argument_that_kills_who_unpickles_it_costs_its_own_task_only() -> None:
    items = [*range(20), Odd(unpickled=crash), *range(21, 30)]
    with Pool(1) as pool:
        run = pool.imap(type, items, chunksize=30)
        results, deaths = read(run)
    assert (results, len(deaths)) == ([int] * 29, 1)


def test_retries_run_it_again_elsewhere(tmp_path: Path) -> None:
    def once(x: int) -> int:
        if x == 5 and not (tmp_path / "been here").exists():
            (tmp_path / "been here").touch()
            os._exit(1)
        return x

    with Executor(2, retries=1) as executor:
        assert list(executor.map(once, range(10))) == list(range(10))
        with pytest.raises(WorkerDied):
            executor.submit(os._exit, 4).result(20)
        assert executor.submit(square, 3).result(20) == 9


def test_every_worker_may_die_and_the_rest_is_still_done() -> None:
    def fragile(x: int) -> int:
        if x % 10 == 9:
            os._exit(1)
        return x

    with Executor(2) as executor:
        futures = [executor.submit(fragile, i) for i in range(40)]
        outcomes = [future.exception(30) for future in futures]
    assert [type(error) for error in outcomes] == [WorkerDied if i % 10 == 9 else type(None) for i in range(40)]


def test_an_initializer_runs_in_each_worker_and_its_error_is_told() -> None:
    def begin(value: int) -> None:
        os.environ["FASTGEAR_TEST"] = str(value)

    with Executor(2, initializer=begin, initargs=(7,)) as executor:
        assert executor.submit(os.getenv, "FASTGEAR_TEST").result(20) == "7"

    def broken() -> None:
        raise RuntimeError("not today")

    with Executor(2, initializer=broken) as executor, pytest.raises(fastgear.CannotStart, match="not today"):
        executor.submit(square, 1).result(20)


def test_a_worker_is_replaced_after_so_many_tasks() -> None:
    with Pool(1, maxtasksperchild=3) as pool:
        pids = [pool.apply(os.getpid) for _ in range(12)]
    assert len(set(pids)) >= 3


# -- life


def test_an_executor_that_was_not_used_starts_nothing() -> None:
    Executor(2).shutdown()


def test_shutdown_waits_and_ends_and_can_be_repeated() -> None:
    executor = Executor(2)
    future = executor.submit(square, 5)
    executor.shutdown()
    executor.shutdown()
    assert future.result(0) == 25
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square, 1)


def test_shutdown_without_waiting_finishes_in_the_background() -> None:
    executor = Executor(1)
    futures = [executor.submit(time.sleep, 0.05) for _ in range(5)]
    executor.shutdown(wait=False)
    assert [future.result(20) for future in futures] == [None] * 5


def test_a_closed_pool_finishes_and_a_terminated_one_does_not_wait() -> None:
    pool = Pool(2)
    result = pool.map_async(square, range(100))
    pool.close()
    with pytest.raises(ValueError, match="not running"):
        pool.map(square, [1])
    pool.join()
    assert result.get(0) == [i * i for i in range(100)]
    pool = Pool(2)
    slow = pool.apply_async(time.sleep, (30,))
    time.sleep(0.1)
    start = time.monotonic()
    pool.terminate()
    pool.join()
    assert time.monotonic() - start < 5
    with pytest.raises(Exception, match="ended"):
        slow.get(5)


def test_join_of_an_open_pool_is_an_error() -> None:
    with Pool(1) as pool, pytest.raises(ValueError, match="still running"):
        pool.join()


@pytest.mark.parametrize("words", [{"max_workers": 0}, {"max_tasks_per_child": 0}, {"retries": -1}])
def test_bad_options_are_named(words: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(words))):
        Executor(**words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words", [{"processes": 0}, {"maxtasksperchild": 0}, {"maxtasksperchild": 1.5}, {"retries": -1}], ids=str
)
def test_bad_options_of_a_pool_are_named(words: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(words))):
        Pool(**words)


@pytest.mark.parametrize("kind", [Pool, Executor])
def test_an_initializer_has_to_be_callable(kind: Any) -> None:
    with pytest.raises(TypeError, match="initializer must be a callable"):
        kind(1, initializer="setup")


def test_sizes_of_chunks_and_buffers_are_at_least_one(pool: Pool, shared: Executor) -> None:
    with pytest.raises(ValueError, match=r"Chunksize must be 1\+"):
        pool.imap(square, [1], chunksize=0)
    with pytest.raises(ValueError, match="chunksize"):
        shared.map(square, [1], chunksize=0)
    with pytest.raises(ValueError, match="buffersize"):
        shared.map(square, [1], buffersize=0)
    with pytest.raises(ValueError, match="not ready"):
        pool.apply_async(time.sleep, (0.3,)).successful()


def test_a_program_without_standard_input_has_a_pool_too(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import fastgear; print(fastgear.map(abs, [-1], workers=1));"
        "print(fastgear.Executor(1, start_method='spawn').submit(abs, -2).result(60))"
    )
    command = ["sh", "-c", f'exec "$0" -c "{code}" <&-', sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[1]\n2\n", "")


def test_a_program_with_threads_gets_fresh_interpreters(shared: Executor) -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        with Executor(1) as executor:
            assert executor.submit(lambda x: x + 1, 1).result(60) == 2
    finally:
        release.set()
        thread.join()


# -- frames that turn out long


@pytest.mark.alone("a second or less is measured")
def test_results_before_a_slow_task_of_the_same_frame_do_not_wait_for_it(shared: Executor) -> None:
    """A thousand quick tasks make the frames large; then one is slow."""

    def mostly_quick(x: int) -> int:
        if x == 20_000:
            time.sleep(1.5)
        return x

    run = shared.map(mostly_quick, range(20_002))
    start = time.monotonic()
    for i in range(20_000):
        assert next(run) == i
    assert time.monotonic() - start < 1
    assert list(run) == [20_000, 20_001]


@pytest.mark.alone("a second or less is measured")
def test_tasks_behind_a_slow_one_are_done_by_others(shared: Executor) -> None:
    def one_is_slow(x: int) -> int:
        if x == 100_000:
            time.sleep(1.0)
        return os.getpid()

    list(shared.map(one_is_slow, range(50_000)))
    start = time.monotonic()
    run = shared.map(one_is_slow, [*range(99_000, 100_001), *[1] * 400_000], chunksize=401_001)
    pids = list(run)
    assert time.monotonic() - start < 5
    assert len(set(pids[1100:])) == 1 and pids[1000] not in pids[1100:]


@pytest.mark.alone("on a busy machine, a thread that was joined may be there for longer than anybody waits for it")
def test_a_pool_after_a_pool_is_forked_again() -> None:
    """Threads of the one before are there for the system for a moment after they were joined."""
    code = """
import fastgear
starts = []
for _ in range(20):
    with fastgear.Pool(1) as pool:
        pool.apply(abs, (-1,))
        starts.append(pool._engine._processes.start_method)
print(set(starts))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd="/")
    assert done.stdout == "{'fork'}\n"
