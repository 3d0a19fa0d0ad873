# SPDX-License-Identifier: MIT
"""What every store must do, whatever it is made of. A backend's tests inherit from Conformance and have a fixture `reopen`.

`reopen()` closes the store that is open, if one is, and opens the same jobs again; the fixture closes the last one. The tests of a
backend that several servers can share inherit from SharedConformance too, and have a fixture `join`: each `join()` opens
the jobs of one more server, and a store that is closed is that of a server that is gone.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage.memory import MemoryStore

from fastgear.storage.store import Batch, DeadJob, ReplayedJob, Store, StoredJob

Reopen = Callable[[], Store]
LARGEST = 2**63 - 1
ALL_BYTES = bytes(range(256))


def job(number: int, workload: bytes = b"hello", **more: object) -> StoredJob:
    plain = StoredJob(number, b"reverse", b"", None, workload, 1, 0, 0, 1_700_000_000 * 10**9)
    return plain._replace(**more)  # type: ignore[arg-type]


def plain(one: StoredJob) -> tuple[object, ...]:
    """As the core's C makes it."""
    return tuple(one)


def jobs(store: Store) -> list[StoredJob]:
    found = [one for chunk in store.replay() for one in chunk]
    assert all(isinstance(one, ReplayedJob) and one.workload_length == len(one.workload or b"") for one in found)
    return [StoredJob._make(one[:9]) for one in found]  # type: ignore[arg-type]


class Conformance:
    def test_a_new_store_is_empty(self, reopen: Reopen) -> None:
        store = reopen()
        assert (store.prefix, store.last_number, jobs(store), list(store.dead())) == ("", 0, [], [])
        assert store.check() == [] and store.health() == "" and list(store.adopt(0)) == []

    def test_everything_about_a_job_is_kept(self, reopen: Reopen) -> None:
        given_in = [
            StoredJob(1, ALL_BYTES, ALL_BYTES, ALL_BYTES, ALL_BYTES, 0, LARGEST, 7, LARGEST),
            StoredJob(2, b"f", b"", b"", b"", 2, 1, 0, 0),
            StoredJob(LARGEST, b"f", b"\xff\x00", None, b"\x00" * 100_000, 1, 0, 0, 1),
        ]
        store = reopen()
        store.append(Batch([plain(one) for one in reversed(given_in)]))  # type: ignore[misc]
        assert jobs(store) == given_in
        store = reopen()
        assert jobs(store) == given_in
        assert store.workload(1) == ALL_BYTES and store.workload(2) == b""
        assert store.last_number == LARGEST

    def test_jobs_with_the_same_unique_or_none_are_kept_apart(self, reopen: Reopen) -> None:
        given_in = [job(number, unique=unique) for number, unique in enumerate([b"", b"", b"u", b"u"], 1)]
        store = reopen()
        store.append(Batch(list(given_in)))
        assert jobs(reopen()) == given_in

    def test_what_ended_does_not_come_back(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(Batch([job(1), job(2), job(3)], ended=[2]))
        store.append(Batch(ended=[3]))
        assert [one.number for one in jobs(store)] == [1]
        assert [one.number for one in jobs(reopen())] == [1]
        with pytest.raises(KeyError):
            reopen().workload(3)

    def test_numbers_are_not_forgotten_with_their_jobs(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(Batch([job(5)]))
        store.append(Batch(ended=[5]))
        assert store.last_number == 5
        store = reopen()
        assert store.last_number == 5
        store.append(Batch([job(9), job(8)], ended=[8, 9]))
        assert store.last_number == 9
        assert reopen().last_number == 9

    def test_attempts_are_counted(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(Batch([job(1), job(2), job(3)], attempts=[(1, 1), (2, 1), (5, 77)]))
        store.append(Batch(attempts=[(3, 3), (9, 78)]))
        assert [one.attempts for one in jobs(store)] == [2, 0, 3]
        assert [one.attempts for one in jobs(reopen())] == [2, 0, 3]

    def test_a_submission_replaces(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(Batch([job(1, b"first", attempts=3)]))
        store.append(Batch([job(1, b"second")]))
        assert jobs(store) == [job(1, b"second")]
        store.append(Batch([job(1, b"third")], ended=[1]))
        assert jobs(reopen()) == []

    def test_the_dead_are_apart_with_their_reason(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(Batch([job(1), job(2, reducer=b"r"), job(3)]))
        store.append(Batch(attempts=[(5, 2)], dead=[(2, "five workers died", 123), (99, "never was", 1)], ended=[2, 3]))
        dead = [DeadJob(job(2, reducer=b"r", attempts=5), "five workers died", 123)]
        for _ in range(2):
            assert list(store.dead()) == dead and [one.number for one in jobs(store)] == [1]
            store = reopen()
        with pytest.raises(KeyError):
            store.workload(2)

    def test_the_dead_come_in_order_and_no_more_than_asked_for(self, reopen: Reopen) -> None:
        store = reopen()
        numbers = list(range(1, 251))
        store.append(Batch([job(number) for number in numbers], dead=[(n, "why", 1000 - n) for n in reversed(numbers)]))
        assert [one.job.number for one in store.dead()] == numbers
        assert [one.job.number for one in store.dead(limit=120)] == numbers[:120]
        assert list(store.dead(limit=0)) == []

    def test_a_job_ends_or_dies_once(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(Batch([job(1), job(2)]))
        store = reopen()
        store.append(Batch(ended=[1]))
        store.append(Batch(dead=[(1, "too late", 1), (2, "first", 2), (2, "second", 3)]))
        store.append(Batch(attempts=[(9, 2)], dead=[(2, "third", 4)], ended=[2]))
        assert jobs(store) == [] and list(store.dead()) == [DeadJob(job(2), "first", 2)]

    def test_a_dead_job_is_tried_again_or_dropped(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(Batch([job(1, attempts=5), job(2)], dead=[(1, "a", 1), (2, "b", 2)]))
        assert store.retry_dead(1) == job(1)
        store.drop_dead(2)
        for number in (1, 2, 3):
            with pytest.raises(KeyError):
                store.retry_dead(number)
            with pytest.raises(KeyError):
                store.drop_dead(number)
        assert jobs(store) == [job(1)] and list(store.dead()) == []
        store = reopen()
        assert jobs(store) == [job(1)] and list(store.dead()) == []

    def test_an_empty_batch_and_unknown_numbers_do_nothing(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(Batch())
        store.append(Batch(attempts=[(1, 5)], dead=[(6, "why", 1)], ended=[7]))
        assert jobs(store) == [] and list(store.dead()) == [] and store.last_number == 0

    def test_a_batch_may_be_appended_twice(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(Batch([job(number) for number in range(1, 6)]))
        batch = Batch([job(6), job(7), job(8)], [(3, 1), (4, 7)], [(2, "why", 9), (8, "new", 9)], [3, 6])
        store.append(batch)
        once = jobs(store), list(store.dead()), store.last_number
        store.append(batch)
        assert (jobs(store), list(store.dead()), store.last_number) == once
        store = reopen()
        store.append(batch)
        assert (jobs(store), list(store.dead()), store.last_number) == once

    def test_the_prefix_is_kept(self, reopen: Reopen) -> None:
        store = reopen()
        store.remember_prefix("H:höst:")
        assert store.prefix == "H:höst:"
        assert reopen().prefix == "H:höst:"

    def test_workloads_beyond_a_limit_stay_in_the_store(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(Batch([job(1, b"a" * 10), job(2, b"b" * 10), job(3, b"c" * 5), job(4, b"")]))
        store = reopen()

        def got(limit: int) -> list[bytes | None]:
            found = [one for chunk in store.replay(limit) for one in chunk]
            assert [one.workload_length for one in found] == [10, 10, 5, 0]
            return [one.workload for one in found]

        assert got(25) == [b"a" * 10, b"b" * 10, b"c" * 5, b""]
        assert got(20) == [b"a" * 10, b"b" * 10, None, None]
        assert got(19) == [b"a" * 10, None, None, None]
        assert got(0) == [None] * 4
        assert store.workload(3) == b"c" * 5

    def test_many_jobs_come_back_in_order_while_others_come_and_go(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(Batch([job(number, b"%d" % number) for number in range(1, 12_346)]))
        store = reopen()
        seen: list[int] = []
        for chunk in store.replay():
            assert 0 < len(chunk) < 12_345, "there are several lists"
            seen += [one.number for one in chunk]
            store.append(Batch([job(20_000 + len(seen))], ended=[1, 12_345]))
        assert seen == list(range(1, 12_345))

    def test_large_workloads_come_few_at_a_time(self, reopen: Reopen) -> None:
        store = reopen()
        store.append(Batch([job(number, bytes([number]) * 4_000_000) for number in range(1, 9)]))
        sizes = [sum(one.workload_length for one in chunk) for chunk in reopen().replay()]
        assert sum(sizes) == 32_000_000 and max(sizes) <= 16_000_000

    def test_closing_twice_is_allowed(self, reopen: Reopen) -> None:
        store = reopen()
        store.close()
        store.close()


class SharedConformance:
    def test_each_server_has_its_own(self, join: Reopen) -> None:
        one, other = join(), join()
        one.remember_prefix("H:one:")
        one.append(Batch([job(1, b"of one"), job(8)], ended=[8]))
        other.append(Batch([job(1, b"of the other"), job(2)]))
        one.append(Batch(dead=[(1, "why", 1)], ended=[2]))
        assert jobs(one) == [] and jobs(other) == [job(1, b"of the other"), job(2)]
        assert (one.prefix, other.prefix, one.last_number, other.last_number) == ("H:one:", "", 8, 2)
        assert [len(list(store.dead())) for store in (one, other)] == [1, 0]
        with pytest.raises(KeyError):
            one.workload(2)

    def test_nothing_is_taken_from_the_living(self, join: Reopen) -> None:
        one, other = join(), join()
        other.append(Batch([job(1)]))
        assert list(one.adopt(0)) == [] and jobs(other) == [job(1)]

    def test_what_a_server_has_left_is_adopted_once(self, join: Reopen) -> None:
        one, gone, third = join(), join(), join()
        one.append(Batch([job(50)]))
        left = [job(number, b"%d" % number, unique=b"u", reducer=b"r", attempts=2, due_ns=7) for number in (3, 9, 70)]
        gone.append(Batch([*left, job(5), job(6)], dead=[(5, "why", 4)], ended=[6]))
        gone.close()
        adopted = [StoredJob._make(row[:9]) for rows in one.adopt(100) for row in rows]  # type: ignore[arg-type]
        numbers = [row.number for row in adopted]
        assert numbers == sorted(set(numbers)) and numbers[0] > 100 and one.last_number >= numbers[-1]
        assert [row._replace(number=old.number) for row, old in zip(adopted, left, strict=True)] == left
        assert jobs(one) == [job(50), *adopted]
        assert [(dead.job.number > 100, dead.reason, dead.died_ns) for dead in one.dead()] == [(True, "why", 4)]
        assert list(third.adopt(0)) == [] and list(one.adopt(0)) == []

    def test_adopted_jobs_get_numbers_that_were_never_used(self, join: Reopen) -> None:
        one, gone = join(), join()
        one.append(Batch([job(50)], ended=[50]))
        gone.append(Batch([job(1)]))
        gone.close()
        assert [row.number > 50 for rows in one.adopt(0) for row in rows] == [True]


_numbers = st.one_of(st.integers(1, 12), st.integers(1, LARGEST))
_odd = st.binary(max_size=20)
_times = st.integers(0, LARGEST)
_jobs = st.builds(
    StoredJob, _numbers, _odd, _odd, st.none() | _odd, _odd, st.integers(0, 2), _times, st.integers(0, 9), _times
)
_batches = st.builds(
    Batch,
    st.lists(_jobs, max_size=6),
    st.lists(st.tuples(st.integers(0, 9), _numbers), max_size=4),
    st.lists(st.tuples(_numbers, st.text(st.characters(exclude_categories=["Cs"]), max_size=9), _times), max_size=2),
    st.lists(_numbers, max_size=5),
)
_steps = st.lists(_batches | st.sampled_from(["reopen", "again", "retry", "drop"]), max_size=25)


def check_against_the_model(make_reopen: Callable[[], Reopen]) -> None:
    """Random steps on a store and on the model: the same state in the end, and after each opening."""

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_steps)
    def compare(steps: list[Batch | str]) -> None:
        reopen, model, last = make_reopen(), MemoryStore(), Batch()
        store = reopen()
        for step in steps:
            if isinstance(step, Batch):
                last = step
            if isinstance(step, Batch) or step == "again":
                store.append(last)
                model.append(last)
            elif step == "reopen":
                store = reopen()
                _same(store, model)
            else:
                for one in list(model.dead())[:1]:
                    name = f"{step}_dead"
                    assert getattr(store, name)(one.job.number) == getattr(model, name)(one.job.number)
        _same(reopen(), model)
        reopen().close()

    compare()


def _same(store: Store, model: Store) -> None:
    assert jobs(store) == jobs(model)
    assert list(store.dead()) == list(model.dead())
    assert store.last_number == model.last_number
