# SPDX-License-Identifier: MIT
"""The C structures against plain Python ones, and what they do when memory ends."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgear.base.alloc import live_allocations

Failing = Callable[[int], None]
quick = settings(max_examples=150, deadline=None, database=None)
IDS = st.integers(0, 9)
KEEPS = "FASTGEAR_ASAN" not in os.environ  # see alloc.h


# -- list


@quick
@given(steps=st.lists(st.tuples(st.sampled_from(["back", "front", "remove", "pop"]), IDS), max_size=60))
def test_a_list_is_a_list(drivers: Any, steps: list[tuple[str, int]]) -> None:
    real, model = drivers("base").List(10), []
    for step, id in steps:
        if step == "pop":
            assert real.pop_front() == (model.pop(0) if model else None)
        elif step == "remove":
            if id in model:
                real.remove(id)
                model.remove(id)
        elif id not in model:
            real.push_back(id) if step == "back" else real.push_front(id)
            model.insert(len(model) if step == "back" else 0, id)
        assert real.forwards() == model == real.backwards()[::-1]
        assert real.first() == (model[0] if model else None) and bool(real) == bool(model)
        assert [id in real for id in range(10)] == [id in model for id in range(10)]


# -- slabs


@pytest.mark.parametrize("seed", range(3))
def test_pieces_of_slabs_do_not_touch_each_other_and_all_come_back(drivers: Any, seed: int) -> None:
    chance, slabs, before = random.Random(seed), drivers("base").Slabs(), live_allocations()
    taken: list[int] = []
    for turn in range(60_000):
        if taken and chance.random() < (0.3 if turn < 30_000 else 0.7):
            assert slabs.give(taken.pop(chance.randrange(len(taken)))), "nobody else wrote there"
        else:
            piece = slabs.take(chance.choice([8, 16, 200, 200, 201, 1000, 1024, 1025, 5000]), turn % 256)
            assert piece % 16 == 0
            taken.append(piece)
    for piece in taken:
        assert slabs.give(piece)
    assert live_allocations() == before
    assert slabs.spares <= 4


@pytest.mark.skipif(os.environ.get("FASTGEAR_ASAN") == "1", reason="there each piece is the heap's")
def test_what_a_queue_has_left_goes_back_while_it_empties(drivers: Any) -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    slabs, before = drivers("base").Slabs(), resident()
    pieces = [slabs.take(1000, 1) for _ in range(50_000)]
    full = resident() - before
    assert full > 45_000_000
    for piece in pieces[:25_000]:
        slabs.give(piece)
    assert resident() - before < 0.65 * full
    pieces += [slabs.take(1000, 2) for _ in range(100)]  # a queue that is never empty
    for piece in pieces[25_000:-10]:
        slabs.give(piece)
    assert resident() - before < 0.4 * full, "the rest are Python's numbers"


def test_a_slab_that_is_not_to_be_had_is_no_memory(drivers: Any, failing: Failing) -> None:
    slabs = drivers("base").Slabs()
    failing(0)
    assert slabs.take(100, 1) is None
    assert slabs.take(100, 1) is not None


# -- heap


@quick
@given(
    steps=st.lists(st.tuples(st.sampled_from(["push", "push", "pop", "remove"]), IDS, st.integers(-2, 2)), max_size=80),
    first_tie=st.sampled_from([0, 2**32 - 5]),
)
def test_a_heap_gives_out_the_smallest_and_equal_ones_in_order(
    drivers: Any, steps: list[tuple[str, int, int]], first_tie: int
) -> None:
    real, model = drivers("base").Heap(10, first_tie), {}
    for turn, (step, id, key) in enumerate(steps):
        smallest = min(model, key=lambda one: model[one], default=None)
        assert real.top() == smallest
        if step == "pop":
            assert real.pop() == smallest
            model.pop(smallest, None)
        elif step == "remove" and id in model:
            real.remove(id)
            del model[id]
        elif step == "push" and id not in model:
            assert real.push(id, key)
            model[id] = (key, turn)
        assert len(real) == len(model)
        assert [id in real for id in range(10)] == [id in model for id in range(10)]


def test_a_large_heap_sorts_and_gives_its_memory_back(base: Any) -> None:
    chance, count = random.Random(1), 20_000
    heap = base.Heap(count)
    keys = [chance.randrange(1000) for _ in range(count)]
    for id, key in enumerate(keys):
        heap.push(id, key)
    for id in range(0, count, 3):
        heap.remove(id)
    left = [id for id in range(count) if id % 3]
    assert heap.capacity >= count
    assert [heap.pop() for _ in left] == sorted(left, key=lambda id: (keys[id], id))
    assert heap.pop() is None and heap.capacity == 64


def test_a_heap_without_memory_stays_as_it_was(base: Any, failing: Failing) -> None:
    heap = base.Heap(200)
    failing(0)
    assert not heap.push(0, 1) and 0 not in heap and len(heap) == 0
    assert all(heap.push(id, -id) for id in range(64))
    failing(0)
    assert not heap.push(64, -64) and len(heap) == 64
    assert [heap.pop() for _ in range(64)] == list(range(63, -1, -1))


# -- table

PAIRS = st.tuples(st.sampled_from([0, 1, 2, 17, 33, 1 << 40, 2**63]), st.integers(0, 5))


@quick
@given(steps=st.lists(st.tuples(st.booleans(), PAIRS), max_size=200))
def test_a_table_is_a_set(drivers: Any, steps: list[tuple[bool, tuple[int, int]]]) -> None:
    real, model = drivers("base").Table(), set()
    for insert, pair in steps:
        if insert and pair not in model:
            assert real.insert(*pair)
            model.add(pair)
        elif not insert:
            assert real.remove(*pair) == (pair in model)
            model.discard(pair)
        assert len(real) == len(model) and (pair in real) == (pair in model)
        assert sorted(real.each()) == sorted(model)


def test_a_table_grows_and_shrinks_and_no_step_pays_for_all(base: Any) -> None:
    table, count, most = base.Table(), 30_000, 0

    def watch(step: Callable[[], bool]) -> None:
        nonlocal most
        before = table.moved
        assert step()
        if before is not None and table.moved is not None and table.moved >= before:
            most = max(most, table.moved - before)

    pairs = [(base.mix(n), n) for n in range(count)]
    for n, pair in enumerate(pairs):
        watch(lambda pair=pair: table.insert(*pair))
        assert pairs[n // 2] in table
    assert count <= table.buckets <= 4 * count
    assert sorted(table.each()) == sorted(pairs)
    for n, pair in enumerate(pairs):
        watch(lambda pair=pair: table.remove(*pair))
        assert n + 1 == count or pairs[(n + count) // 2] in table
    assert len(table) == 0 and table.buckets == 0, "an empty one gives all back"
    assert 0 < most <= 8


def test_a_table_without_memory_goes_on_with_longer_chains(base: Any, failing: Failing) -> None:
    table = base.Table()
    failing(1)
    assert not table.insert(1, 1), "no buckets at all"
    assert table.insert(base.mix(0), 0)
    for n in range(1, 1000):
        failing(1)  # there is memory for the entry, and none for more buckets
        assert table.insert(base.mix(n), n)
    failing(-1)
    assert table.buckets == 16
    assert all((base.mix(n), n) in table for n in range(1000))
    assert all(table.remove(base.mix(n), n) for n in range(1000))


# -- index


@quick
@given(steps=st.lists(st.tuples(st.booleans(), PAIRS), max_size=200))
def test_an_index_finds_all_that_have_a_hash(drivers: Any, steps: list[tuple[bool, tuple[int, int]]]) -> None:
    real, model = drivers("base").Index(), set()
    for insert, (hash, key) in steps:
        pair = hash, key + hash.bit_length() * 10  # an item has one hash
        if insert and pair not in model:
            assert real.insert(*pair)
            model.add(pair)
        elif not insert and pair in model:
            real.remove(*pair)
            model.discard(pair)
        assert len(real) == len(model)
        for some in {one for one, _ in model} | {hash}:
            assert sorted(real.find(some)) == sorted(item for one, item in model if one == some)


@pytest.mark.parametrize("seed", range(4))
def test_an_index_is_the_same_before_during_and_after_a_change_of_its_size(base: Any, seed: int) -> None:
    """Hashes that crowd at both ends of the places, so that runs are long and go on where the emptying began."""
    chance, index, model, moving = random.Random(seed), base.Index(), {}, 0
    for turn in range(60_000):
        if model and chance.random() < (0.35 if turn % 20_000 < 12_000 else 0.75):
            key = chance.choice(list(model)[:50]) if turn % 7 else next(reversed(model))
            index.remove(model.pop(key), key)
        else:
            model[turn] = (chance.randrange(-40, 40) if chance.random() < 0.02 else chance.getrandbits(64)) % 2**64
            assert index.insert(model[turn], turn)
        moving += index.moved is not None
        if turn % 5 == 0 and model:
            key = chance.choice(list(model)[-50:])
            assert key in index.find(model[key])
        if turn % 3000 == 0:
            assert all(key in index.find(hash) for key, hash in model.items()) and len(index) == len(model)
            assert not any(index.find(chance.getrandbits(64)) for _ in range(100))
    assert moving > 100
    for key, hash in model.items():
        index.remove(hash, key)
    assert len(index) == 0


def test_an_index_grows_and_shrinks_and_no_step_pays_for_all(base: Any) -> None:
    index, count, steps = base.Index(), 300_000, []
    hashes = [base.mix(n) for n in range(count)]
    for n, hash in enumerate(hashes):
        before = index.moved
        assert index.insert(hash, n)
        if before is not None and index.moved is not None:
            steps.append(index.moved - before)
        assert index.find(hashes[n // 2]) == [n // 2]
    assert count < index.places <= 4 * count
    assert min(filter(None, steps)) >= 16 and max(steps) < 500, "the run that a step ends in is moved with it"
    assert 0 < steps.count(0) < 10_000, "a large one rests before, for the sake of its pages"
    for n, hash in enumerate(hashes):
        index.remove(hash, n)
        assert index.find(hash) == [] and index.find(hashes[(n + count) // 2]) in ([(n + count) // 2], [])
    assert len(index) == 0 and index.places <= 1024, "an empty one gives nearly all back"


def test_an_index_without_memory_fills_up_and_then_refuses(base: Any, failing: Failing) -> None:
    index = base.Index()
    failing(0)
    assert not index.insert(1, 1), "no places at all"
    taken = []
    for n in range(20):
        failing(0 if n else 1)
        if index.insert(base.mix(n), n):
            taken.append(n)
    assert index.places == 16 and taken == list(range(14))
    assert [index.find(base.mix(n)) for n in taken] == [[n] for n in taken] and index.find(base.mix(14)) == []
    failing(-1)
    index.remove(base.mix(0), 0)
    assert index.insert(base.mix(14), 14) and index.places == 32
    assert [index.find(base.mix(n)) for n in range(1, 15)] == [[n] for n in range(1, 15)]


# -- bitset


@quick
@given(
    members=st.lists(
        st.tuples(st.booleans(), st.booleans(), st.integers(0, 2**16) | st.integers(500, 530)), max_size=60
    ),
    limits=st.lists(st.integers(0, 70_000) | st.integers(505, 520), min_size=1, max_size=5),
)
def test_bitsets_find_their_last_common_member(
    drivers: Any, members: list[tuple[bool, bool, int]], limits: list[int]
) -> None:
    real = drivers("base").Bitset(), drivers("base").Bitset()
    model: tuple[set[int], set[int]] = set(), set()
    for which, add, member in members:
        if add:
            assert real[which].add(member)
            model[which].add(member)
        else:
            real[which].discard(member)
            model[which].discard(member)
        assert (member in real[which]) == (member in model[which])
        real[not which].add(member) if member % 2 else None
        model[not which].add(member) if member % 2 else None
        for limit in (*limits, member, member + 1):
            expected = max((one for one in model[0] & model[1] if one < limit), default=-1)
            assert real[0].last_common(real[1], limit) == expected
            assert real[0].next_common(real[1], limit) == (
                expected if expected >= 0 else max(model[0] & model[1], default=-1)
            )


def test_a_bitset_without_memory_stays_as_it_was(base: Any, failing: Failing) -> None:
    bitset, other = base.Bitset(), base.Bitset()
    for n in range(3):
        failing(n)
        assert not bitset.add(100_000) and 100_000 not in bitset
    failing(-1)
    for one in (bitset, other):
        assert one.add(100_000) and one.add(7)
    assert bitset.last_common(other, 1 << 20) == 100_000
    bitset.discard(100_000)
    failing(0)
    assert bitset.add(100_000), "what was a member once needs no memory"


# -- digits

NUMBERS = st.integers(0, 2**64 - 1) | st.integers(0, 20).flatmap(lambda size: st.integers(0, min(10**size, 2**64 - 1)))


@quick
@given(number=NUMBERS)
def test_a_number_is_its_digits(drivers: Any, number: int) -> None:
    base, text = drivers("base"), str(number).encode()
    assert base.write_digits(number) == text
    assert base.read_digits(text) == (number if len(text) <= 19 else None)
    assert base.write_eight(number % 10**8) == b"%08d" % (number % 10**8)
    assert base.read_eight(b"%08d" % (number % 10**8)) == number % 10**8


@quick
@given(text=st.binary(min_size=0, max_size=22) | st.text("0123456789/:", max_size=22).map(str.encode))
def test_what_is_not_all_digits_is_no_number(drivers: Any, text: bytes) -> None:
    is_number = text.isdigit() and len(text) <= 19
    assert drivers("base").read_digits(text) == (int(text) if is_number else None)
    if len(text) >= 8:
        assert drivers("base").read_eight(text[:8]) == (int(text[:8]) if text[:8].isdigit() else None)


# -- blob


def test_a_blob_lives_as_long_as_somebody_holds_it(base: Any) -> None:
    before = live_allocations()
    blob, buffer = base.Blob(b"0123456789"), base.Buffer()
    assert buffer.append_blob(blob, 2, 5) and buffer.append_blob(blob, 0, 10)
    assert blob.references == 3
    del blob
    assert b"".join(buffer.gather()) == b"234560123456789"
    buffer.consume(5)
    buffer.consume(10)
    assert live_allocations() == before


def test_a_blob_keeps_its_bytes_when_it_grows_and_when_it_cannot(base: Any, failing: Failing) -> None:
    blob = base.Blob(b"abc")
    assert blob.resize(100_000) and bytes(blob) == b"abc" and blob.capacity == 100_000
    failing(0)
    assert not blob.resize(200_000) and bytes(blob) == b"abc" and blob.capacity == 100_000


# -- shelf


def test_a_blob_on_a_shelf_is_used_again_once_nobody_else_holds_it(base: Any) -> None:
    shelf, size = base.Shelf(), base.Shelf.LEAST
    blob = shelf.new(size)
    shelf.hold(blob)
    shelf.put(blob)
    assert shelf.bytes == size and shelf.take(size) is None
    shelf.release(blob)
    assert shelf.take(size + 1) is None, "too small"
    assert shelf.take(size // 2 - 1) is None, "more than half of it would be empty"
    assert shelf.take(size) == blob and shelf.bytes == 0 and shelf.take(size) is None
    shelf.put(blob)
    assert shelf.take(size // 2) == blob
    shelf.release(blob)


def test_a_shelf_keeps_no_more_than_it_may(base: Any) -> None:
    shelf, least, most = base.Shelf(), base.Shelf.LEAST, base.Shelf.MOST
    shelf.put(shelf.new(least - 1))
    shelf.put(shelf.new(most + 1))
    assert shelf.bytes == 0
    for number in range(100):
        shelf.put(shelf.new(least + number))
    assert shelf.bytes == sum(least + number for number in range(84, 100)), "the latest"
    for _ in range(3):
        shelf.put(shelf.new(most // 2))
        assert shelf.bytes <= most
    shelf.put(shelf.new(most))
    assert shelf.bytes == most
    shelf.clear()
    assert shelf.bytes == 0


# -- buffer


def test_what_a_buffer_leaves_is_the_next_ones_and_bounded(base: Any, failing: Failing) -> None:
    before, pieces = live_allocations(), base.Pieces()
    buffers = [base.Buffer(pieces) for _ in range(100)]
    for buffer in buffers:
        assert buffer.append(b"x" * 4032)
    for buffer in buffers:
        buffer.consume(4032)
    if KEEPS:
        assert len(pieces) == 64 and live_allocations() == before, "those that are kept do not count"
    failing(0)
    assert not buffers[0].append(b"x"), "one that is kept can fail, too"
    failing(-1)
    assert buffers[0].append(b"y" * 4032) and buffers[0].append(b"z" * 5000)
    assert b"".join(buffers[0].gather()) == b"y" * 4032 + b"z" * 5000
    buffers[0].consume(9032)
    assert len(pieces) == (64 if KEEPS else 0) and live_allocations() == before


CHUNKS = st.one_of(
    st.tuples(st.just("append"), st.sampled_from([0, 1, 10, 4031, 4032, 4033, 5000, 70_000])),
    st.tuples(st.just("blob"), st.sampled_from([0, 1, 20_000])),
    st.tuples(st.just("reserve"), st.sampled_from([0, 1, 700, 4000])),
    st.tuples(st.just("consume"), st.integers(0, 100_000)),
    st.tuples(st.just("clear"), st.just(0)),
)


@quick
@given(steps=st.lists(CHUNKS, max_size=30))
def test_a_buffer_is_a_row_of_bytes(drivers: Any, steps: list[tuple[str, int]]) -> None:
    base, before = drivers("base"), live_allocations()
    real, model = base.Buffer(), b""
    for turn, (step, size) in enumerate(steps):
        content = bytes([turn % 251]) * size
        if step == "append":
            assert real.append(content)
            model += content
        elif step == "blob":
            assert real.append_blob(base.Blob(b"<" + content + b">"), 1, size)
            model += content
        elif step == "reserve":
            assert real.reserve(size + 50, content)
            model += content
        elif step == "consume":
            real.consume(min(size, len(model)))
            model = model[min(size, len(model)) :]
        else:
            real.clear()
            model = b""
        assert len(real) == len(model)
        assert b"".join(real.gather(64)) == model
        assert real.gather(1) == real.gather(64)[:1]
    real.consume(len(model))
    assert live_allocations() == before, "an empty buffer holds no memory"


def test_the_pieces_of_a_buffer_grow_to_a_bound(base: Any) -> None:
    buffer = base.Buffer()
    for _ in range(3000):
        buffer.append(b"x" * 100)
    assert buffer.capacities[:3] == [4032, 16128, 64512]
    assert max(buffer.capacities) == 65536 and len(buffer.capacities) < 10


def test_a_buffer_without_memory_keeps_what_it_had(base: Any, failing: Failing) -> None:
    buffer, blob = base.Buffer(), base.Blob(b"blob")
    assert buffer.append(b"a" * 4032)
    for attempt in (
        lambda: buffer.append(b"b"),
        lambda: buffer.append_blob(blob, 0, 4),
        lambda: buffer.reserve(10, b"c"),
    ):
        failing(0)
        assert not attempt()
    assert buffer.gather() == [b"a" * 4032] and blob.references == 1


# -- hashes


def test_bytes_are_hashed_by_siphash_1_3(base: Any) -> None:
    """Against CPython, whose hash of bytes is the same function; its key is 0 with PYTHONHASHSEED=0."""
    words = [bytes(range(length)) for length in range(1, 40)]
    code = f"import sys; print(sys.hash_info.algorithm, *(hash(word) % 2**64 for word in {words!r}))"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    algorithm, *hashes = done.stdout.split()
    if algorithm != "siphash13":
        pytest.skip(f"this Python hashes with {algorithm}")
    assert [base.sip(word, 0, 0) for word in words] == [int(one) for one in hashes]


def test_the_key_changes_the_hash(base: Any) -> None:
    assert len({base.sip(b"word", k0, k1) for k0 in range(10) for k1 in range(10)}) == 100


def test_numbers_are_mixed_without_collisions_and_into_all_bits(base: Any) -> None:
    mixed = [base.mix(n) for n in range(10_000)]
    assert len(set(mixed)) == len(mixed)
    assert all(4500 < sum(one >> bit & 1 for one in mixed) < 5500 for bit in range(64))
