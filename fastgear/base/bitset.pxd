# SPDX-License-Identifier: MIT
"""A sparse set of small integers that finds common members fast: 512 to a leaf, and a summary bit for each leaf."""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

cdef enum:
    LEAF_WORDS = 8
    LEAF_BITS = 512

ctypedef struct leaf_t:
    uint64_t words[LEAF_WORDS]

ctypedef struct bitset_t:
    leaf_t** leaves             # owned; NULL where nothing was ever added
    uint64_t* summary           # owned; a bit for each leaf that is not all zero
    size_t capacity             # leaves there is room for, a multiple of 64

cdef void bitset_init(bitset_t* set) noexcept nogil
cdef void bitset_free(bitset_t* set) noexcept nogil
# FG_OK or FG_ENOMEM. What was a member once can be added again without memory: discarding keeps it.
cdef int bitset_add(bitset_t* set, size_t member) noexcept nogil
cdef void bitset_discard(bitset_t* set, size_t member) noexcept nogil
# The largest member of both below limit, or -1.
cdef ssize_t bitset_last_common(const bitset_t* a, const bitset_t* b, size_t limit) noexcept nogil

cdef inline bint bitset_has(const bitset_t* set, size_t member) noexcept nogil:
    cdef size_t leaf = member // LEAF_BITS
    if leaf >= set.capacity or set.leaves[leaf] == NULL:
        return False
    return set.leaves[leaf].words[member // 64 % LEAF_WORDS] >> (member % 64) & 1
