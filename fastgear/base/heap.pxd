# SPDX-License-Identifier: MIT
"""An intrusive heap of deadlines: smallest key first, equal keys in the order they were pushed."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t

ctypedef struct heap_entry_t:   # embedded in what has the deadline
    int64_t key
    uint32_t index              # place in heap_t.entries plus one; 0: in no heap
    uint32_t tie                # order of pushes among equal keys; wraps

ctypedef struct heap_t:
    heap_entry_t** entries      # owned array of borrowed entries
    size_t length
    size_t capacity
    uint32_t next_tie

cdef void heap_init(heap_t* heap) noexcept nogil
cdef void heap_free(heap_t* heap) noexcept nogil
cdef int heap_push(heap_t* heap, heap_entry_t* entry, int64_t key) noexcept nogil  # FG_OK or FG_ENOMEM
cdef heap_entry_t* heap_pop(heap_t* heap) noexcept nogil  # NULL when empty
cdef void heap_remove(heap_t* heap, heap_entry_t* entry) noexcept nogil

cdef inline heap_entry_t* heap_top(const heap_t* heap) noexcept nogil:
    return heap.entries[0] if heap.length > 0 else NULL

cdef inline bint heap_contains(const heap_entry_t* entry) noexcept nogil:
    return entry.index != 0

cdef inline size_t heap_length(const heap_t* heap) noexcept nogil:
    return heap.length
