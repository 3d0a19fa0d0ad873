# SPDX-License-Identifier: MIT
"""Allocation for every room with C structures. In debug builds it counts what is live, and can be told to fail."""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc

cdef extern from "alloc.h" nogil:
    void fg_note_alloc(void* memory)
    void fg_note_free(void* memory)
    bint fg_must_fail()
    long fg_live_count()
    long fg_set_countdown(long n)


cdef void* fg_malloc(size_t size) noexcept nogil:
    cdef void* memory = NULL if fg_must_fail() else PyMem_RawMalloc(size)
    fg_note_alloc(memory)
    return memory


cdef void* fg_calloc(size_t count, size_t size) noexcept nogil:
    cdef void* memory = NULL if fg_must_fail() else PyMem_RawCalloc(count, size)
    fg_note_alloc(memory)
    return memory


cdef void* fg_realloc(void* memory, size_t size) noexcept nogil:
    cdef void* moved = NULL if fg_must_fail() else PyMem_RawRealloc(memory, size)
    if memory == NULL:
        fg_note_alloc(moved)
    return moved


cdef void fg_free(void* memory) noexcept nogil:
    fg_note_free(memory)
    PyMem_RawFree(memory)


cdef bint counted_may_have() noexcept nogil:
    return not fg_must_fail()


cdef void counted_have(void* memory) noexcept nogil:
    fg_note_alloc(memory)


cdef void counted_gone(void* memory) noexcept nogil:
    fg_note_free(memory)


counting = bool(FG_COUNTING)


def live_allocations():
    return fg_live_count()


def fail_after(long allocations):
    return fg_set_countdown(allocations)
