# SPDX-License-Identifier: MIT
"""Memory by whole pages, straight from the system and straight back to it, so that no heap keeps it or has to clear it.

Not counted as allocated: who hands it on is, as arrays are.
"""

from libc.stddef cimport size_t

cdef extern from *:
    """
    static inline void pages_touch(void *place) { *(volatile char *)place = *(volatile char *)place; }
    """
    void pages_touch(void* place) noexcept nogil  # let the page be made that this is in

cdef void* pages_new(size_t size) noexcept nogil        # zeros; NULL: no memory
cdef void pages_free(void* memory, size_t size) noexcept nogil
# At an address that is a multiple of the size, which is a power of two.
cdef void* pages_new_aligned(size_t size) noexcept nogil
# An array of zeros that counts as allocated: from the heap, or in pages of its own, which both have to be told; NULL: no memory.
cdef void* array_new(size_t size, bint in_pages) noexcept nogil
cdef void array_free(void* array, size_t size, bint in_pages) noexcept nogil
# What is in whole pages between the two places is not wanted any more; it may be read as zeros from now on.
cdef void pages_forget(void* start, void* end) noexcept nogil
