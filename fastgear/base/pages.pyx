# SPDX-License-Identifier: MIT
"""Anonymous mappings. Those that lie side by side are one to Linux, so thousands of them are no trouble."""

from libc.stdint cimport uintptr_t
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap

from fastgear.base.alloc cimport fg_calloc, fg_free, fg_gone, fg_have, fg_may_have

cdef extern from "<sys/mman.h>" nogil:
    int MADV_DONTNEED
    int MADV_HUGEPAGE
    int madvise(void* start, size_t length, int advice)

cdef enum:
    PAGE = 4096                 # or a multiple of it; what is forgotten is rounded inwards
    HUGE = 1 << 21              # what is large gets pages of this size, if there are any


cdef void* map_some(size_t size) noexcept nogil:
    cdef void* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    return NULL if memory == MAP_FAILED else memory


cdef void* pages_new(size_t size) noexcept nogil:
    """What is looked into here and there costs a walk through the tables of pages each time, unless these are huge."""
    cdef void* memory = map_some(size) if fg_may_have() else NULL
    if memory != NULL and size >= HUGE:
        madvise(memory, size, MADV_HUGEPAGE)
    return memory


cdef void* pages_new_aligned(size_t size) noexcept nogil:
    """Twice the size holds a place for it; what is before and behind goes back."""
    cdef char* memory = <char*>map_some(2 * size) if fg_may_have() else NULL
    cdef size_t before
    if memory == NULL:
        return NULL
    before = (size - (<uintptr_t>memory & (size - 1))) & (size - 1)
    if before > 0:
        munmap(memory, before)
    munmap(memory + before + size, size - before)
    return memory + before


cdef void pages_free(void* memory, size_t size) noexcept nogil:
    """Linux may refuse to cut a mapping in two, when there are too many; then the memory goes, and the address stays."""
    if munmap(memory, size) != 0:
        madvise(memory, size, MADV_DONTNEED)


cdef void* array_new(size_t size, bint in_pages) noexcept nogil:
    cdef void* array
    if not in_pages:
        return fg_calloc(1, size)
    array = pages_new(size)
    fg_have(array)
    return array


cdef void array_free(void* array, size_t size, bint in_pages) noexcept nogil:
    if not in_pages:
        fg_free(array)
    elif array != NULL:
        fg_gone(array)
        pages_free(array, size)


cdef void pages_forget(void* start, void* end) noexcept nogil:
    cdef uintptr_t first = (<uintptr_t>start + PAGE - 1) & ~<uintptr_t>(PAGE - 1)
    cdef uintptr_t last = <uintptr_t>end & ~<uintptr_t>(PAGE - 1)
    if first < last:
        madvise(<void*>first, last - first, MADV_DONTNEED)
