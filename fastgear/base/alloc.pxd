# SPDX-License-Identifier: MIT
"""The one way to memory: PyMem_RawMalloc and its kin, which need no GIL; counted in debug builds."""

from libc.stddef cimport size_t

cdef extern from "alloc.h" nogil:
    bint FG_KEEPS               # whether what is given back may be kept by who gave it out, to be used again
    bint FG_COUNTING

cdef void* fg_malloc(size_t size) noexcept nogil
cdef void* fg_calloc(size_t count, size_t size) noexcept nogil
cdef void* fg_realloc(void* memory, size_t size) noexcept nogil
cdef void fg_free(void* memory) noexcept nogil

cdef bint counted_may_have() noexcept nogil
cdef void counted_have(void* memory) noexcept nogil
cdef void counted_gone(void* memory) noexcept nogil

# For memory that comes from elsewhere. In release builds nothing is left of these, not even a call.
cdef inline bint fg_may_have() noexcept nogil:
    """Whether it may be had now."""
    return not FG_COUNTING or counted_may_have()

cdef inline void fg_have(void* memory) noexcept nogil:
    """It is there; or NULL: it is not."""
    if FG_COUNTING:
        counted_have(memory)

cdef inline void fg_gone(void* memory) noexcept nogil:
    if FG_COUNTING:
        counted_gone(memory)
