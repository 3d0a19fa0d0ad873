# SPDX-License-Identifier: MIT
"""What users of ProcessPoolExecutor and multiprocessing.Pool rely on without thinking of it."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgear import Executor, Pool, RemoteError, TransferError, WorkerDied
from pool.scripts import all_there, eventually, run
from pool.work import Odd, crash, leave, make_odd, raise_only_there, square

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no pool")


@pytest.fixture(scope="module")
def shared() -> Iterator[Executor]:
    with Executor(2) as executor:
        executor.submit(square, 1).result(20)
        assert all_there(executor)
        yield executor


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(2) as made:
        yield made


def test_an_empty_map_is_over_at_once(pool: Pool) -> None:
    seen: list[Any] = []
    assert pool.map_async(square, [], callback=seen.append).get(5) == []
    assert pool.starmap_async(pow, [], chunksize=3).get(5) == []
    assert seen == [[]]


def test_callbacks_have_run_when_wait_returns(pool: Pool) -> None:
    for i in range(50):
        seen: list[Any] = []
        pool.apply_async(square, (i,), callback=seen.append).wait(20)
        pool.map_async(int, ["x"], callback=seen.append, error_callback=seen.append).wait(20)
        assert seen[0] == i * i and isinstance(seen[1], ValueError) and len(seen) == 2


def test_a_callback_that_raises_is_reported_and_changes_nothing(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise OSError("a callback's own")

    assert pool.apply_async(square, (3,), callback=fail).get(20) == 9
    assert "a callback's own" in caplog.text
    assert pool.map(square, [2]) == [4]


def test_what_takes_too_long_raises_everybodys_timeout_error(pool: Pool) -> None:
    slow = pool.apply_async(time.sleep, (20,))
    for kind in (TimeoutError, multiprocessing.TimeoutError, concurrent.futures.TimeoutError):
        with pytest.raises(kind):
            slow.get(0.01)
    with pytest.raises(multiprocessing.TimeoutError):
        pool.imap(time.sleep, [20]).next(0.01)  # type: ignore[attr-defined]
    with Executor(1) as executor, pytest.raises(concurrent.futures.TimeoutError):
        list(executor.map(time.sleep, [1], timeout=0.01))


def test_an_exception_has_the_workers_traceback_where_others_have_it(shared: Executor) -> None:
    error = shared.submit(square, "x").exception(20)  # type: ignore[arg-type]
    assert error is not None and "return x * x" in error.__cause__.tb  # type: ignore[union-attr]


def test_a_callback_may_wait_for_what_came_together_with_its_own_future(shared: Executor) -> None:
    for _ in range(300):
        got: list[int] = []
        other = shared.submit(square, 4)
        first = shared.submit(square, 2)
        first.add_done_callback(lambda _, other=other, got=got: got.append(other.result(20)))  # type: ignore[misc]
        first.result(20)
        assert eventually(lambda got=got: got == [16])  # type: ignore[misc]


@pytest.mark.alone("a second or less is measured")
def test_who_waits_sees_what_another_thread_has_received(shared: Executor) -> None:
    """Each thread waits for a future of its own while another one may be the one to receive both."""
    late: list[float] = []

    def use() -> None:
        for i in range(300):
            begun = time.monotonic()
            assert shared.submit(square, i).result(20) == i * i
            late.append(time.monotonic() - begun)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(late) == 1200 and max(late) < 5


def test_a_callback_that_exits_is_reported_and_others_are_still_served(shared: Executor) -> None:
    seen: list[str] = []
    future = shared.submit(time.sleep, 0.05)
    future.add_done_callback(lambda _: sys.exit(3))
    future.add_done_callback(lambda _: seen.append("second"))
    assert eventually(future.done)
    assert shared.submit(square, 5).result(20) == 25


def test_a_future_that_somebody_else_has_set_harms_nobody(shared: Executor) -> None:
    future = shared.submit(time.sleep, 0.05)
    future.set_result(None)
    time.sleep(0.1)
    other = shared.submit(square, 5)
    assert eventually(other.done) and other.result(0) == 25


@pytest.mark.alone("a second or less is measured")
def test_a_cancelled_future_wakes_who_waits_for_it() -> None:
    with Executor(1) as executor:
        running = [executor.submit(time.sleep, 1) for _ in range(3)]
        waiting = executor.submit(square, 1)
        threading.Timer(0.1, waiting.cancel).start()
        begun = time.monotonic()
        with pytest.raises(concurrent.futures.CancelledError):
            waiting.result(20)
        assert time.monotonic() - begun < 0.8
        assert not running[0].cancel()
        executor.shutdown(cancel_futures=True)


def test_an_argument_that_kills_its_worker_costs_its_own_task() -> None:
    with Executor(2) as executor:
        with pytest.raises(WorkerDied, match=r"square\(\.\.\.\)") as caught:
            executor.submit(square, Odd(unpickled=crash)).result(20)  # type: ignore[arg-type]
        assert caught.value.exit_code == 5
        assert executor.submit(square, 3).result(20) == 9


def test_an_item_that_kills_its_worker_is_found_among_others() -> None:
    items = [Odd(unpickled=crash) if i == 60 else i for i in range(100)]
    with Pool(2) as pool:
        run = pool.imap(lambda x: x, items, chunksize=50)
        results: list[Any] = []
        for _ in items:
            try:
                results.append(next(run))
            except WorkerDied:
                results.append(None)
        assert results == [None if i == 60 else i for i in range(100)]


def test_an_exit_while_something_is_pickled_is_an_exception_of_the_task(shared: Executor) -> None:
    for words in ({"pickled": leave}, {"unpickled": leave}):
        error = shared.submit(make_odd, words).exception(20)
        assert isinstance(error, (SystemExit, TransferError)), error
    assert isinstance(shared.submit(square, Odd(unpickled=leave)).exception(20), SystemExit)  # type: ignore[arg-type]
    assert list(shared.map(square, range(5))) == [0, 1, 4, 9, 16]


def test_an_exception_that_cannot_be_rebuilt_here_is_told_of(shared: Executor) -> None:
    with pytest.raises(RemoteError, match="cannot be rebuilt here: ValueError: not here") as caught:
        shared.submit(raise_only_there).result(20)
    assert "OnlyThere: words" in caught.value.remote_traceback
    assert shared.submit(square, 3).result(20) == 9


def test_a_result_is_kept_no_longer_than_it_is_looked_at(shared: Executor) -> None:
    import weakref

    for thing in shared.map(make_odd, [{}] * 5):
        watch = weakref.ref(thing)
        del thing
        assert watch() is None


def test_several_threads_may_wait_for_the_same_futures_as_they_come(shared: Executor) -> None:
    late: list[object] = []

    def wait(futures: list[concurrent.futures.Future[int]]) -> None:
        for future in futures:
            late.extend(concurrent.futures.wait([future], timeout=20).not_done)

    for _ in range(10):
        futures = [shared.submit(square, i) for i in range(200)]
        threads = [threading.Thread(target=wait, args=(order,)) for order in (futures, futures[::-1], futures)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not late and [future.result() for future in futures] == [i * i for i in range(200)]


def test_an_initializer_has_run_even_if_nothing_else_has(tmp_path: Path) -> None:
    def begin() -> None:
        time.sleep(0.1)
        (tmp_path / str(os.getpid())).touch()

    pool = Pool(2, begin)
    pool.close()
    pool.join()
    assert len(list(tmp_path.iterdir())) == 2


def test_managers_of_multiprocessing_know_the_workers(tmp_path: Path) -> None:
    text = """
import multiprocessing
from fastgear import Executor
if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        values = manager.list()
        for method in ("fork", "spawn"):
            with Executor(1, start_method=method) as executor:
                executor.submit(values.append, method).result(30)
        print(list(values))
"""
    assert run(tmp_path, text) == "['fork', 'spawn']\n"


def test_calls_count_one_by_one_towards_a_workers_last(pool: Pool) -> None:
    with Executor(1, max_tasks_per_child=5) as executor:
        pids = [future.result(20) for future in [executor.submit(os.getpid) for _ in range(50)]]
    assert max(pids.count(pid) for pid in pids) <= 5
