# SPDX-License-Identifier: MIT
"""A four-ary heap: half the levels of a binary one, and the children of an entry share a cache line."""

from fastgear.base.alloc cimport fg_free, fg_realloc
from fastgear.base.check cimport fg_check
from fastgear.base.status cimport FG_ENOMEM, FG_OK

cdef enum:
    ARITY = 4
    SMALLEST = 64               # entries there is always room for, once there was one


cdef void heap_init(heap_t* heap) noexcept nogil:
    heap.entries = NULL
    heap.length = heap.capacity = 0
    heap.next_tie = 0


cdef void heap_free(heap_t* heap) noexcept nogil:
    fg_free(heap.entries)
    heap_init(heap)


cdef int resize(heap_t* heap, size_t capacity) noexcept nogil:
    cdef void* entries = fg_realloc(heap.entries, capacity * sizeof(heap_entry_t*))
    if entries == NULL:
        return FG_ENOMEM
    heap.entries = <heap_entry_t**>entries
    heap.capacity = capacity
    return FG_OK


cdef inline bint before(const heap_entry_t* a, const heap_entry_t* b) noexcept nogil:
    if a.key != b.key:
        return a.key < b.key
    return <int>(a.tie - b.tie) < 0


cdef inline void put(heap_t* heap, size_t place, heap_entry_t* entry) noexcept nogil:
    heap.entries[place] = entry
    entry.index = <uint32_t>(place + 1)


cdef void sift_up(heap_t* heap, size_t place, heap_entry_t* entry) noexcept nogil:
    cdef size_t parent
    while place > 0:
        parent = (place - 1) // ARITY
        if not before(entry, heap.entries[parent]):
            break
        put(heap, place, heap.entries[parent])
        place = parent
    put(heap, place, entry)


cdef inline size_t first_child(const heap_t* heap, size_t place) noexcept nogil:
    """The child that comes first, or the heap's length when there is none."""
    cdef size_t child = place * ARITY + 1
    cdef size_t end = child + ARITY if child + ARITY < heap.length else heap.length
    cdef size_t found = child
    if child >= heap.length:
        return heap.length
    while child + 1 < end:
        child += 1
        if before(heap.entries[child], heap.entries[found]):
            found = child
    return found


cdef void sift_down(heap_t* heap, size_t place, heap_entry_t* entry) noexcept nogil:
    cdef size_t child = first_child(heap, place)
    while child < heap.length and before(heap.entries[child], entry):
        put(heap, place, heap.entries[child])
        place = child
        child = first_child(heap, place)
    put(heap, place, entry)


cdef int heap_push(heap_t* heap, heap_entry_t* entry, int64_t key) noexcept nogil:
    if heap.length == heap.capacity:
        if resize(heap, heap.capacity * 2 if heap.capacity > 0 else SMALLEST) != FG_OK:
            return FG_ENOMEM
    entry.key = key
    entry.tie = heap.next_tie
    heap.next_tie += 1
    heap.length += 1
    sift_up(heap, heap.length - 1, entry)
    return FG_OK


cdef heap_entry_t* heap_pop(heap_t* heap) noexcept nogil:
    cdef heap_entry_t* entry = heap_top(heap)
    if entry != NULL:
        heap_remove(heap, entry)
    return entry


cdef void heap_remove(heap_t* heap, heap_entry_t* entry) noexcept nogil:
    cdef size_t place = entry.index - 1
    cdef heap_entry_t* last = heap.entries[heap.length - 1]
    fg_check(entry.index > 0 and heap.entries[place] == entry)
    heap.length -= 1
    entry.index = 0
    if last != entry:
        if place > 0 and before(last, heap.entries[(place - 1) // ARITY]):
            sift_up(heap, place, last)
        else:
            sift_down(heap, place, last)
    if heap.capacity > SMALLEST and heap.length < heap.capacity // 4:
        resize(heap, heap.capacity // 2)  # when there is no memory for less, more is kept
