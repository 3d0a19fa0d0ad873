# SPDX-License-Identifier: MIT
"""Large values to worker processes and back: what the pool promises of them, one sentence each."""

from __future__ import annotations

import array
import contextlib
import functools
import gc
import mmap
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastgear.pool.processes
import fastgear.pool.transfer
from fastgear import ConfigError, Executor, Pool, TransferError, WorkerDied
from fastgear.pool.arena import Arena
from fastgear.pool.memory import usable_memory
from pool.scripts import all_there
from pool.work import (
    die_holding,
    doubled,
    fork_holding,
    keep,
    same,
    spoil,
    square,
    sum_beside,
    sum_of_kept,
    wrapped_again,
    write_no_large_files,
)

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no pool")

MIB = 1 << 20
RNG = np.random.default_rng(1)


@pytest.fixture(scope="module")
def shared() -> Iterator[Executor]:
    with Executor(2) as executor:
        executor.submit(square, 1).result(20)
        assert all_there(executor)
        yield executor


def arena_of(owner: Any) -> Arena:
    engine = owner._engine
    found: Arena = engine._memory.arena
    return found


def ramp(mib: float, start: float = 0.0) -> Any:
    return np.arange(int(mib * MIB) // 8) + float(start)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        kinds = type(one) is type(other) and one.dtype.newbyteorder("=") == other.dtype.newbyteorder("=")
        return kinds and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and bool(one == other)


def resident(fd: int) -> int:
    return os.fstat(fd).st_blocks * 512


def segments_in_dev_shm() -> set[str]:
    return set(os.listdir("/dev/shm"))


def read_only(made: Any) -> Any:
    made.flags.writeable = False
    return made


# -- values


VALUES = {
    "one dimension": ramp(1),
    "two dimensions": ramp(1).reshape(256, -1),
    "in the order of Fortran": np.asfortranarray(ramp(1).reshape(256, -1)),
    "a transposed one": ramp(1).reshape(256, -1).T,
    "every other item": ramp(2)[::2],
    "backwards": ramp(1)[::-1],
    "a column": ramp(4).reshape(-1, 2)[:, 0],
    "read-only": read_only(ramp(1)),
    "big endian": ramp(1).astype(">f8"),
    "no items": np.empty((0, 5)),
    "no dimensions": np.array(5.0),
    "just below the threshold": np.zeros(65535, np.uint8),
    "at the threshold": np.zeros(65536, np.uint8),
    "odd size": np.arange(1_000_003, dtype=np.uint8),
    "booleans": ramp(1) > 5,
    "complex": ramp(1) * 1j,
    "text": np.array(["a", "bcd", "ä" * 20] * 9000),
    "dates": np.arange(200_000).astype("datetime64[s]"),
    "structured": np.array([(1, 2.5, b"x"), (3, 4.5, b"yz")] * 40_000, dtype=[("a", "i4"), ("b", "f8"), ("c", "S3")]),
    "objects": np.array([1, "two", None, (3,)] * 30_000, dtype=object),
    "nested": {"a": [ramp(1), (ramp(0.5), "x", {"b": ramp(0.01)})], "n": None, "t": b"z" * 300_000},
    "bytes": os.urandom(3 * MIB),
    "bytes in a list": [os.urandom(MIB), 5, os.urandom(70_000)],
    "bytearray": bytearray(os.urandom(2 * MIB)),
    "text of its own": "aä€" * 400_000,
    "array.array": array.array("d", range(200_000)),
    "many numbers": list(range(300_000)),
}


@pytest.mark.parametrize("name", VALUES)
def test_large_values_go_and_come_back_as_they_are(shared: Executor, name: str) -> None:
    value = VALUES[name]
    assert equal(value, shared.submit(same, value).result(20))
    back = list(shared.map(same, [value, value]))
    assert equal(value, back[0]) and equal(value, back[1])


def test_an_array_that_comes_back_can_be_written_unless_it_could_not(shared: Executor) -> None:
    for made, writable in ((ramp(1), True), (read_only(ramp(1)), False)):
        back = shared.submit(same, made).result(20)
        assert back.flags.writeable is writable and back.ctypes.data % 64 == 0


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview", "mmap", "array"])
def test_buffers_of_other_kinds_go_the_same_way(shared: Executor, kind: str) -> None:
    data = os.urandom(MIB)
    made: Any = {"bytes": data, "bytearray": bytearray(data), "memoryview": memoryview(data)}.get(kind)
    if kind == "array":
        made = array.array("B", data)
    elif kind == "mmap":
        made = mmap.mmap(-1, MIB)
        made[:] = data
    kind, back = shared.submit(wrapped_again, pickle.PickleBuffer(made)).result(20)
    assert kind == "memoryview" and isinstance(back, memoryview) and back == data
    assert back.readonly is memoryview(made).readonly


def test_what_pickle_refuses_is_refused(shared: Executor) -> None:
    assert shared.submit(same, memoryview(bytes(MIB))).result(20) == bytes(MIB)  # cloudpickle does not
    with pytest.raises(Exception, match="contiguous"):
        shared.submit(same, pickle.PickleBuffer(ramp(2)[::2])).result(20)


def test_an_array_that_is_there_twice_is_there_twice_again(shared: Executor) -> None:
    made = ramp(1)
    one, other = shared.submit(same, (made, made)).result(20)
    assert one is other and equal(one, made)
    both = shared.submit(lambda x, y: x is y, made, made).result(20)
    assert both is True


def test_large_bytes_do_not_travel_through_the_socket(shared: Executor) -> None:
    before = arena_of(shared).used
    data = os.urandom(40 * MIB)
    assert shared.submit(same, data).result(20) == data
    assert arena_of(shared).used >= before + 40 * MIB


def test_many_sizes_at_once(shared: Executor) -> None:
    made = [np.full(RNG.integers(1, 400_000), i, np.int64) for i in range(300)]
    assert all(map(equal, [x * 2 for x in made], shared.map(doubled, made)))


def test_a_pool_of_fresh_interpreters_sends_the_same_way() -> None:
    with Executor(1, start_method="spawn") as executor:
        assert equal(ramp(2), executor.submit(same, ramp(2)).result(30))
        assert arena_of(executor).used >= 4 * MIB


def test_threads_that_submit_at_once_get_what_is_theirs(shared: Executor) -> None:
    wrong: list[int] = []

    def use(number: int) -> None:
        for i in range(20):
            made = ramp(0.25 + number / 8, i)
            if not equal(made * 2, shared.submit(doubled, made).result(20)):
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


BUFFERS = st.builds(
    lambda seed, size, kind: np.random.default_rng(seed).integers(0, 100, size).astype(kind),
    st.integers(0, 9),
    st.sampled_from([0, 1, 100, 8191, 8192, 8193, 65_536, 200_000]),
    st.sampled_from(["u1", "i8", "f4", ">i4"]),
)
LEAVES = (
    BUFFERS
    | BUFFERS.map(lambda made: made[::2])
    | st.sampled_from([0, 70_000, 300_000]).map(lambda size: bytes(range(256)) * (size // 256))
    | st.integers()
    | st.none()
    | st.text(max_size=5)
)
NESTED = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(NESTED, st.booleans())
def test_whatever_is_nested_comes_back_equal(shared: Executor, value: Any, as_map: bool) -> None:
    back = next(iter(shared.map(same, [value]))) if as_map else shared.submit(same, value).result(20)
    assert equal(value, back)


# -- whose memory it is


def test_what_a_task_writes_to_its_argument_the_caller_does_not_see(shared: Executor) -> None:
    made = ramp(1, 5.0)
    assert shared.submit(spoil, made).result(20) == 5.0
    assert list(shared.map(spoil, [made, ramp(1, 6.0)])) == [5.0, 6.0]
    assert equal(made, ramp(1, 5.0))


def test_what_the_caller_writes_after_submitting_the_task_does_not_see(shared: Executor) -> None:
    made = ramp(1, 5.0)
    futures = [shared.submit(spoil, made) for _ in range(10)]
    made[:] = 9.0
    assert [future.result(20) for future in futures] == [5.0] * 10


def test_results_do_not_share_memory_with_each_other(shared: Executor) -> None:
    one, other = shared.map(same, [ramp(1), ramp(1)])
    one[:] = 0
    assert equal(other, ramp(1))


def test_a_task_may_keep_its_argument() -> None:
    with Executor(1) as executor:
        for i in range(5):
            assert executor.submit(keep, ramp(1, i)).result(20) == i + 1
        for i in range(20):
            executor.submit(same, np.full(MIB // 8, float(i))).result(20)
        assert executor.submit(sum_of_kept).result(20) == sum(float(ramp(1, i).sum()) for i in range(5))


def test_a_view_of_a_result_keeps_it(shared: Executor) -> None:
    view = shared.submit(same, ramp(1)).result(20)[10:20:3]
    for i in range(20):
        shared.submit(same, np.full(MIB // 8, float(i))).result(20)
    assert view.tolist() == [10.0, 13.0, 16.0, 19.0]


def test_results_outlive_the_pool() -> None:
    with Pool(2) as pool:
        results = pool.map(doubled, [ramp(1, i) for i in range(8)])
        arena = arena_of(pool)
    gc.collect()
    assert all(equal(ramp(1, i) * 2, result) for i, result in enumerate(results))
    results[0][:] = 3
    assert arena.used <= 8 * MIB  # what nobody looks at is given back
    del results[2:]
    assert arena.used <= 2 * MIB
    assert equal(results[1], ramp(1, 1) * 2)
    del results
    assert arena.used == 0 and arena.fd == -1


def test_a_task_that_forks_keeps_its_argument(shared: Executor) -> None:
    for _ in range(3):
        assert equal(ramp(1), shared.submit(fork_holding, ramp(1)).result(20))


def test_a_fork_of_the_caller_has_results_of_its_own(shared: Executor) -> None:
    result = shared.submit(same, ramp(1)).result(20)
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        result[:10] = 7.0  # the parent does not see it
        os.read(ours, 1)
        os._exit(0 if result[100] == 100.0 else 1)  # nor is it used again by the parent's pool
    kept = result[:10].copy()
    del result
    for i in range(20):
        shared.submit(same, np.full(MIB // 8, float(i))).result(20)
    os.write(theirs, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert equal(kept, ramp(1)[:10])
    os.close(ours)
    os.close(theirs)


# -- functions


def test_a_large_function_goes_once_to_each_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    table = ramp(8)
    frames: list[int] = []
    pack = fastgear.pool.runs.pack_items
    monkeypatch.setattr(fastgear.pool.runs, "pack_items", lambda *args: frames.append(len(pack(*args))) or pack(*args))
    with Pool(2) as pool:
        assert pool.map(functools.partial(sum_beside, table), range(2000)) == [float(i) for i in range(2000)]
        assert len(frames) > 2 and max(frames) < 50_000
        assert arena_of(pool).used < 10 * MIB


def test_a_large_function_that_is_submitted_again_is_not_sent_again() -> None:
    function = functools.partial(sum_beside, ramp(8))
    with Executor(2) as executor:
        assert [executor.submit(function, i).result(20) for i in range(10)] == [float(i) for i in range(10)]
        assert arena_of(executor).used < 10 * MIB
        function.args[0][:] = 5.0
        assert executor.submit(function, 3).result(20) == 5.0


def test_a_function_of_some_kilobytes_is_not_in_each_frame_either() -> None:
    names = {f"name {i}": i for i in range(2000)}
    with Executor(2) as executor:
        assert list(executor.map(lambda i: names[f"name {i}"], range(2000))) == list(range(2000))
        assert 0 < arena_of(executor).used < MIB


def test_what_a_call_writes_to_a_functions_array_others_do_not_see() -> None:
    def spoil_and_tell(table: Any, x: int) -> tuple[float, int]:
        before = float(table[x])
        table[x] = -1.0
        time.sleep(0.05)
        return before, os.getpid()

    table = ramp(1, 5.0)
    with Executor(2) as executor:
        told = list(executor.map(functools.partial(spoil_and_tell, table), [0] * 6))
    pids = [pid for _, pid in told]
    firsts = {pid: told[pids.index(pid)][0] for pid in pids}
    assert set(firsts.values()) == {5.0} and table[0] == 5.0


# -- how much memory


def test_memory_is_used_again() -> None:
    with Executor(2) as executor:
        arena = arena_of(executor)
        most = 0
        made = [ramp(8, i) for i in range(4)]
        for _ in range(250):
            futures = [executor.submit(same, one) for one in made]
            assert all(future.result(20)[0] == number for number, future in enumerate(futures))
            del futures
            most = max(most, resident(arena.fd))
        assert 16 * MIB <= most <= 150 * MIB


def test_a_map_of_many_arrays_has_few_of_them_under_way() -> None:
    with Pool(2) as pool:
        assert pool.map(len, [ramp(1)] * 300) == [MIB // 8] * 300
        assert arena_of(pool).used <= 64 * MIB


def test_what_is_not_used_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastgear.pool.processes, "_TIDY_S", 0.1)
    with Executor(2) as executor:
        arena = arena_of(executor)
        results = list(executor.map(same, [ramp(8, i) for i in range(20)]))
        assert arena.used >= 160 * MIB
        del results[1:]
        deadline = time.monotonic() + 10
        while resident(arena.fd) > 80 * MIB and time.monotonic() < deadline:
            time.sleep(0.05)
        assert resident(arena.fd) <= 80 * MIB
        assert equal(results[0], ramp(8))
        assert equal(executor.submit(doubled, ramp(8)).result(20), ramp(8) * 2)


@pytest.mark.parametrize("limit", [0, MIB, 5 * MIB])
def test_what_has_no_room_is_sent(limit: int) -> None:
    with Executor(2, shared_memory=limit) as executor:
        made = [ramp(2, i) for i in range(10)]
        results = list(executor.map(same, made))
        assert all(map(equal, made, results)) and results[3].flags.writeable
        assert resident(arena_of(executor).fd) <= limit + MIB
        data = os.urandom(3 * MIB)
        assert executor.submit(same, data).result(20) == data
        assert executor.submit(functools.partial(sum_beside, ramp(2)), 7).result(20) == 7.0


def test_a_result_that_nobody_drops_does_not_stop_others() -> None:
    with Executor(1, shared_memory=4 * MIB) as executor:
        kept = [executor.submit(same, ramp(1, i)).result(20) for i in range(10)]
        assert all(equal(ramp(1, i), made) for i, made in enumerate(kept))
        assert arena_of(executor).used <= 4 * MIB


def test_memory_that_cannot_be_had_is_no_failure() -> None:
    with Executor(1, initializer=write_no_large_files) as executor:  # writing more to the memory fails in the worker
        assert equal(ramp(2), executor.submit(same, ramp(2)).result(20))
    with Executor(1) as executor:
        executor.submit(same, ramp(2)).result(20)
        arena = arena_of(executor)
        kept, nothing = os.dup(arena.fd), os.open("/dev/full", os.O_RDWR)
        os.dup2(nothing, arena.fd, inheritable=False)
        assert equal(ramp(9), executor.submit(doubled, ramp(9) / 2).result(20))  # and here in the pool
        os.dup2(kept, arena.fd, inheritable=False)
        assert equal(ramp(2), executor.submit(same, ramp(2)).result(20))
        os.close(kept)
        os.close(nothing)


def test_too_much_for_any_way_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastgear.pool.transfer, "MOST_IN_BAND", 3 * MIB)  # also in the workers, which are forked
    with Executor(1, shared_memory=0, start_method="fork") as executor:
        with pytest.raises(TransferError, match="at most"):
            executor.submit(same, ramp(4)).result(20)
        with pytest.raises(TransferError, match=r"the task's result, of type ndarray, cannot be sent: .* at most"):
            executor.submit(np.ones, MIB).result(20)
        with pytest.raises(TransferError, match="the task's result, of type bytes, cannot be sent"):
            executor.submit(bytes, 4 * MIB).result(20)
        assert equal(ramp(2), executor.submit(same, ramp(2)).result(20))


def test_a_limit_below_nothing_is_refused() -> None:
    for make in (Executor, Pool):
        with pytest.raises(ConfigError, match="shared_memory: -1"):
            make(1, shared_memory=-1)


# -- deaths


def settled(arena: Arena, limit: int) -> bool:
    deadline = time.monotonic() + 10
    while arena.used > limit and time.monotonic() < deadline:
        time.sleep(0.05)
    return arena.used <= limit


def test_a_worker_that_dies_of_an_argument_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastgear.pool.processes, "_TIDY_S", 0.2)
    with Executor(2) as executor:
        most = 0
        for _ in range(12):
            with pytest.raises(WorkerDied, match="die_holding"):
                executor.submit(die_holding, ramp(16)).result(30)
            most = max(most, arena_of(executor).used)
        assert most <= 48 * MIB
        assert equal(ramp(1), executor.submit(same, ramp(1)).result(20))


@pytest.mark.alone("/dev/shm is everybody's")
def test_workers_killed_in_the_middle_of_transfers_cost_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways are under way all the time; whoever is killed reads, writes or waits."""
    monkeypatch.setattr(fastgear.pool.processes, "_TIDY_S", 0.2)
    before = segments_in_dev_shm()
    with Executor(2, retries=100) as executor:
        arena = arena_of(executor)
        made = [ramp(4, i) for i in range(6)]
        kills = 0
        for turn in range(15):
            futures = [executor.submit(doubled, one) for one in made]
            time.sleep(0.001 * (turn % 7))
            for worker in executor.stats().workers:
                if kills < 30:
                    # Of the one of the turn before nobody may have been told yet.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(worker.pid, signal.SIGKILL)
                        kills += 1
                        break
            for one, future in zip(made, futures, strict=True):
                assert equal(one * 2, future.result(60))
        assert kills >= 5
        assert list(executor.map(len, made * 5))
        del futures, future
        assert settled(arena, 200 * MIB)
        busy = arena.used
        time.sleep(1)
        assert arena.used <= max(busy, 64 * MIB)
        assert segments_in_dev_shm() == before


def test_results_of_a_worker_that_is_dead_stay_and_its_successor_does_not_touch_them() -> None:
    with Executor(1, retries=1) as executor:
        kept = [executor.submit(same, ramp(1, i)).result(20) for i in range(5)]
        for _ in range(6):  # through all areas that there are
            with pytest.raises(WorkerDied):
                executor.submit(os._exit, 1).result(20)
            executor.submit(same, ramp(1, 77)).result(20)
        assert all(equal(ramp(1, i), made) for i, made in enumerate(kept))


def test_results_of_workers_that_leave_arrive() -> None:
    with Pool(2, maxtasksperchild=2) as pool:
        results = pool.map(doubled, [ramp(2, i) for i in range(40)])
        assert all(equal(ramp(2, i) * 2, made) for i, made in enumerate(results))
        counts = pool.map(keep, [ramp(2, i) for i in range(20)])
        assert all(counts) and equal(ramp(1), pool.apply(same, (ramp(1),)))


def test_an_argument_that_a_dead_worker_has_written_to_is_whole_for_the_next_one(tmp_path: Path) -> None:
    def spoil_once(made: Any) -> float:
        before = float(made[0])
        made[:] = -1.0
        if not (tmp_path / "been here").exists():
            (tmp_path / "been here").touch()
            os._exit(1)
        return before

    with Executor(2, retries=1) as executor:
        assert executor.submit(spoil_once, ramp(1, 5.0)).result(30) == 5.0
        (tmp_path / "been here").unlink()
        assert list(executor.map(spoil_once, [ramp(1, 5.0), ramp(1, 5.0)])) == [5.0, 5.0]


_KILLED = """
import numpy, os, signal, threading, time
from fastgear import Executor
from pool.work import same

if __name__ == "__main__":
    executor = Executor(2)
    made = numpy.ones(1 << 20)
    executor.submit(same, made).result(20)
    print(*(worker.pid for worker in executor.stats().workers), flush=True)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
    while True:
        list(executor.map(same, [made] * 20))
"""


@pytest.mark.alone("/dev/shm is everybody's")
def test_nothing_is_left_when_the_pool_is_killed(tmp_path: Path) -> None:
    before = segments_in_dev_shm()
    path = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", _KILLED],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(int(pid)) for pid in done.stdout.split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(int(pid)) for pid in done.stdout.split())
    assert segments_in_dev_shm() == before


# -- the arena by itself


@pytest.fixture
def pair() -> Iterator[tuple[Arena, Arena]]:
    """A pool's and a worker's."""
    pool = Arena(3, 64 * MIB)
    worker = Arena(3, 64 * MIB, os.dup(pool.fd))
    pool.join(0)
    worker.join(1)
    yield pool, worker
    worker.close()
    pool.close()


def test_a_place_is_used_again_when_nobody_has_it(pair: tuple[Arena, Arena]) -> None:
    pool, worker = pair
    place = pool.put(bytes(MIB))
    assert place is not None
    lease: Any = pool.lease(place)
    view: Any = worker.view(place)
    del lease  # the reader still has it
    other = pool.put(bytes(MIB))
    assert other is not None and other[0] != place[0]
    del view
    third = pool.put(bytes(MIB))
    assert third is not None and third[0] == place[0] and third[2] != place[2]


def test_what_is_gone_cannot_be_viewed(pair: tuple[Arena, Arena]) -> None:
    pool, worker = pair
    place = worker.put(b"x" * MIB)
    assert place is not None
    assert bytes(pool.view(place)) == b"x" * MIB
    with pytest.raises(TransferError, match="not in shared memory any more"):
        pool.view(place)
    again = worker.put(b"y" * MIB)
    assert again is not None and again[0] == place[0]
    with pytest.raises(TransferError, match="not in shared memory any more"):
        pool.view(place)
    assert bytes(pool.view(again)) == b"y" * MIB


def test_what_a_dead_worker_has_put_is_reclaimed_but_for_what_was_seen(pair: tuple[Arena, Arena]) -> None:
    pool, worker = pair
    seen, unseen = worker.put(b"a" * MIB), worker.put(b"b" * MIB)
    assert seen is not None and unseen is not None
    argument = pool.put(bytes(MIB))
    assert argument is not None
    held: Any = worker.view(argument)
    view = pool.view(seen)
    left = pool.bury(1)
    assert [index for index, _ in left] == [unseen[0]]
    pool.drop(argument)
    again = pool.put(bytes(MIB))
    assert again is not None and again[0] == argument[0]  # the dead one has it no more
    pool.reclaim(left)
    heir = Arena(3, 64 * MIB, os.dup(pool.fd))
    heir.join(1)
    places = [heir.put(b"c" * MIB) for _ in range(2)]
    indexes = {place[0] for place in places if place is not None}
    assert unseen[0] in indexes and seen[0] not in indexes
    assert bytes(view) == b"a" * MIB
    del held
    heir.close()


def test_memory_that_is_free_makes_room_for_another_size(pair: tuple[Arena, Arena]) -> None:
    pool, _ = pair
    for mib in (30, 40, 50, 60):
        place = pool.put(bytes(mib * MIB))
        assert place is not None and pool.used <= 64 * MIB
        pool.drop(place)
    place = pool.put(bytes(60 * MIB))
    assert place is not None and pool.put(bytes(5 * MIB)) is None
    assert pool.put(bytes(65 * MIB)) is None


def test_private_views_of_one_place_are_apart(pair: tuple[Arena, Arena]) -> None:
    pool, worker = pair
    place = pool.put(b"x" * 100_000)
    assert place is not None
    one, other = worker.view(place, private=True), worker.view(place)
    one[:5] = b"abcde"
    assert bytes(other) == b"x" * 100_000 and bytes(one)[:6] == b"abcdex"
    del one, other


def test_an_arena_of_many_parts() -> None:
    pool = Arena(300, 64 * MIB)
    pool.join(0)
    workers = [Arena(300, 64 * MIB, os.dup(pool.fd)) for _ in range(3)]
    for worker, part in zip(workers, (1, 64, 299), strict=True):
        worker.join(part)
    place = pool.put(bytes(MIB))
    assert place is not None
    views = [worker.view(place) for worker in workers]
    pool.drop(place)
    for _ in range(3):
        other = pool.put(bytes(MIB))
        assert other is not None and other[0] != place[0]
        pool.drop(other)
        views.pop()
    indexes = {put[0] for put in (pool.put(bytes(MIB)), pool.put(bytes(MIB))) if put is not None}
    assert indexes == {place[0], other[0]}
    for arena in (*workers, pool):
        arena.close()


def test_usable_memory_is_the_least_limit_of_all_groups(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/outer/inner\n")
    inner = tmp_path / "root" / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    total = usable_memory(tmp_path / "root", membership)
    assert total == usable_memory(tmp_path / "nowhere", tmp_path / "none") > MIB
    (inner.parent / "memory.max").write_text(f"{100 * MIB}\n")
    assert usable_memory(tmp_path / "root", membership) == 100 * MIB
    membership.write_text("5:cpu:/x\n4:memory:/y\n")
    (tmp_path / "root" / "memory" / "y").mkdir(parents=True)
    (tmp_path / "root" / "memory" / "y" / "memory.limit_in_bytes").write_text(f"{50 * MIB}\n")
    assert usable_memory(tmp_path / "root", membership) == 50 * MIB


@pytest.mark.parametrize("fresh", [True, False], ids=["to fresh memory", "to memory that is there"])
def test_the_memory_may_be_given_up_while_somebody_puts_something_there(fresh: bool) -> None:
    data = bytes(64 * MIB)
    arena = Arena(1, 2 * len(data))
    arena.join(0)
    if not fresh:
        arena.drop(arena.put(data))
    thread = threading.Thread(target=arena.put, args=(data,))
    thread.start()
    while arena.used < len(data):  # so it has begun
        time.sleep(0)
    time.sleep(0.002)
    arena.close()
    thread.join()
    assert (arena.used, arena.fd) == (0, -1)


def test_threads_may_put_and_read_and_drop_at_the_same_time() -> None:
    arena = Arena(1, 200 * MIB)
    arena.join(0)
    wrong: list[int] = []

    def use(number: int) -> None:
        kept = []
        for i in range(100):
            data = bytes([number * 16 + i % 16]) * (70_000 * (1 + i % 3))
            place = arena.put(data)
            kept.append((data, arena.lease(place), arena.view(place)))
            if len(kept) > 3:
                data, _, view = kept.pop(0)
                wrong.extend([number] * (bytes(view) != data))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and not arena.reading
    arena.close()
    assert arena.fd == -1
