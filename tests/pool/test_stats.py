# SPDX-License-Identifier: MIT
"""What stats() tells of a pool's workers, and of the tasks that they have done."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator

import pytest

from fastgear import Executor, Pool, PoolFunctionInfo, PoolStats, WorkerDied
from pool.work import square

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no pool")


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(2) as made:
        yield made


def function(stats: PoolStats, name: str) -> PoolFunctionInfo:
    (found,) = [info for info in stats.functions if info.name == name]
    return found


def test_each_task_is_counted_whatever_it_travels_in(pool: Pool) -> None:
    pool.map(square, range(10_000))
    list(pool.imap_unordered(square, range(500), chunksize=7))
    pool.starmap(pow, [(2, 3)] * 300)
    for call in [pool.apply_async(square, (i,)) for i in range(200)]:
        call.get(20)
    pool.apply(divmod, (7, 2))
    pool.map(functools.partial(pow, 2), [1, 2])
    stats = pool.stats()
    assert {info.name: info.count for info in stats.functions} == {"square": 10_700, "pow": 302, "divmod": 1}
    assert sum(worker.tasks for worker in stats.workers) == 11_003
    assert (stats.waiting, stats.under_way, stats.died) == (0, 0, 0)


def test_what_a_task_raises_counts_as_well(pool: Pool) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.starmap(divmod, [(1, i % 5) for i in range(100)])
    assert function(pool.stats(), "divmod").count == 100


@pytest.mark.alone("milliseconds are measured")
def test_the_slowest_are_named_and_timed(pool: Pool) -> None:
    naps = [0.001] * 100
    naps[37], naps[80] = 0.1, 0.05
    pool.map(time.sleep, naps)
    pool.apply(time.sleep, (0.07,))
    info = function(pool.stats(), "sleep")
    assert [task.text for task in info.slowest[:3]] == ["sleep(0.1)", "sleep(0.07)", "sleep(0.05)"]
    assert 0.1 <= info.slowest[0].duration_s < 0.2 and info.slowest[0].tasks == 1
    assert len(info.slowest) == 5
    assert 0.001 <= info.p50_s < 0.0025 and 0.05 <= info.p99_s < 0.12
    assert info.mean_s == pytest.approx(info.total_s / 101)
    assert 0.32 <= info.total_s < 0.6


@pytest.mark.alone("microseconds are measured")
def test_tiny_tasks_are_timed_some_together_and_a_slow_one_among_them_shows(pool: Pool) -> None:
    def tiny(x: int) -> int:
        if x == 15_000:
            time.sleep(0.03)
        return x

    pool.map(tiny, range(20_000))
    info = function(pool.stats(), tiny.__qualname__)
    slowest = info.slowest[0]
    assert info.count == 20_000 and slowest.duration_s >= 0.03 and slowest.tasks <= 64
    first = int(slowest.text.rpartition("(")[2].rstrip(")"))
    assert first <= 15_000 < first + slowest.tasks
    assert info.p50_s < 1e-4


def test_workers_show_what_they_do(pool: Pool) -> None:
    slow = [pool.apply_async(time.sleep, (0.4,)) for _ in range(3)]
    time.sleep(0.2)
    during = pool.stats()
    assert during.under_way == 3
    for call in slow:
        call.get(20)
    after = pool.stats()
    assert len({worker.pid for worker in after.workers}) == 2
    for worker in after.workers:
        os.kill(worker.pid, 0)
        assert worker.rss > 1_000_000 and worker.frames >= 1 and worker.tasks >= 1 and 0.1 < worker.busy <= 1


def test_a_dead_worker_is_counted_and_replaced() -> None:
    with Executor(1) as executor:
        assert executor.stats() == PoolStats()
        with pytest.raises(WorkerDied):
            executor.submit(os._exit, 3).result(20)
        assert executor.submit(square, 3).result(20) == 9
        stats = executor.stats()
        assert stats.died == 1 and len(stats.workers) == 1 and stats.workers[0].tasks == 1
    assert function(executor.stats(), "square").count == 1 and executor.stats().workers == ()


def test_there_are_no_more_names_than_a_bound(pool: Pool) -> None:
    def named(name: str) -> object:
        made = functools.partial(abs)
        made.__qualname__ = name  # type: ignore[attr-defined]
        return made

    for number in range(1005):
        pool.map(named(f"f{number}"), [1])  # type: ignore[arg-type]
    infos = pool.stats().functions
    assert len(infos) == 1001 and function(pool.stats(), "others").count == 5
