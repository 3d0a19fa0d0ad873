# SPDX-License-Identifier: MIT
"""What lies in the memory of an arena, and the system calls for it. See arena.pyx for what it is for."""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

cdef extern from "shared.h" nogil:
    uint64_t shared_load(const uint64_t* word)
    void shared_store(uint64_t* word, uint64_t value)
    bint shared_swap(uint64_t* word, uint64_t before, uint64_t after)
    uint64_t shared_or(uint64_t* word, uint64_t bits)
    uint64_t shared_and(uint64_t* word, uint64_t bits)
    uint64_t shared_add(uint64_t* word, uint64_t number)

cdef extern from "<sys/mman.h>" nogil:
    enum:
        PROT_READ
        PROT_WRITE
        MAP_SHARED
        MAP_PRIVATE
        MAP_ANONYMOUS
        MAP_FIXED
        MADV_DONTDUMP
    void* mmap(void* address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t length)
    int madvise(void* address, size_t length, int advice)

cdef extern from "<fcntl.h>" nogil:
    enum:
        FALLOC_FL_KEEP_SIZE
        FALLOC_FL_PUNCH_HOLE
    int fallocate(int fd, int mode, long offset, long length)

cdef extern from "<unistd.h>" nogil:
    ssize_t pwrite(int fd, const void* data, size_t length, long offset)

cdef enum:
    SLOTS = 16384               # of a part, at most
    CLASSES = 160               # of sizes: four to each power of two, from LEAST on
    LEAST = 1 << 18             # bytes of address space for a slot
    ALIGNED = 1 << 16           # what all offsets are multiples of; no system has larger pages
    PAGE = 1 << 12              # what memory is counted in
    BUSY = 1                    # in a slot's word; the rest counts, so that no word comes back

ctypedef struct slot_t:
    uint64_t word               # BUSY, and how often it was taken
    uint64_t offset             # in the part
    uint64_t capacity           # bytes of address space
    uint64_t resident           # bytes of memory behind it; whoever has the slot busy may change it

ctypedef struct part_t:
    uint64_t count              # slots that there are
    uint64_t end                # of the last one, in the part
    uint64_t releases           # how often one became free
    uint64_t reserved[5]

ctypedef struct head_t:
    uint64_t used               # bytes of memory behind all slots
    uint64_t reserved[7]


cdef inline size_t pages(size_t size) noexcept nogil:
    return (size + PAGE - 1) & ~<size_t>(PAGE - 1)


cdef inline size_t aligned(size_t size) noexcept nogil:
    return (size + ALIGNED - 1) & ~<size_t>(ALIGNED - 1)


cdef inline int class_of(size_t size, size_t* capacity) noexcept nogil:
    """Sizes go up by a quarter of the last power of two."""
    cdef size_t step = LEAST >> 2
    cdef int number = 0
    capacity[0] = LEAST
    while capacity[0] < size:
        capacity[0] += step
        number += 1
        if number % 4 == 0:
            step <<= 1
    return number
