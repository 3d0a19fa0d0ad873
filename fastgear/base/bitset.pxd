# SPDX-License-Identifier: MIT
"""A sparse set of small integers that finds common members fast: 64 to a word, and a summary bit for each word."""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

cdef enum:
    LEAF_WORDS = 8
    LEAF_BITS = 512
    COVERED = 8                 # leaves, by a word of the summary
    BITSET_NO_LIMIT = 2147483647  # above every member

ctypedef struct leaf_t:
    uint64_t words[LEAF_WORDS]

ctypedef struct bitset_t:
    leaf_t** leaves             # owned; NULL where nothing was ever added
    uint64_t* summary           # owned; a bit for each word that is not zero
    size_t capacity             # leaves there is room for, a multiple of those that a word of the summary covers

cdef extern from *:
    int highest_bit "63 - __builtin_clzll"(unsigned long long) noexcept nogil  # of a number that is not 0

cdef void bitset_init(bitset_t* set) noexcept nogil
cdef void bitset_free(bitset_t* set) noexcept nogil
# FG_OK or FG_ENOMEM. What was a member once can be added again without memory: discarding keeps it.
cdef int bitset_add(bitset_t* set, size_t member) noexcept nogil
cdef void bitset_discard(bitset_t* set, size_t member) noexcept nogil
# The largest member of both below limit, or -1.
cdef ssize_t bitset_last_common(const bitset_t* a, const bitset_t* b, size_t limit) noexcept nogil

cdef inline uint64_t* bitset_word(const bitset_t* set, size_t word) noexcept nogil:
    """There must be its leaf."""
    return &set.leaves[word // LEAF_WORDS].words[word % LEAF_WORDS]

cdef inline bint bitset_has(const bitset_t* set, size_t member) noexcept nogil:
    cdef size_t leaf = member // LEAF_BITS
    if leaf >= set.capacity or set.leaves[leaf] == NULL:
        return False
    return bitset_word(set, member // 64)[0] >> (member % 64) & 1

cdef inline uint64_t bits_below(size_t bits) noexcept nogil:
    """A word with its lowest `bits` bits set."""
    return ~<uint64_t>0 if bits >= 64 else (<uint64_t>1 << bits) - 1

# The largest member of both below limit, or else the largest of both, or -1.
cdef inline ssize_t bitset_next_common(const bitset_t* a, const bitset_t* b, size_t limit) noexcept nogil:
    cdef uint64_t words, common, less
    cdef size_t word
    cdef ssize_t found
    if a.capacity == COVERED and b.capacity == COVERED:
        words = a.summary[0] & b.summary[0]
        if words == 0:
            return -1
        if words & (words - 1) == 0:  # one word decides
            word = highest_bit(words)
            common = bitset_word(a, word)[0] & bitset_word(b, word)[0]
            less = common & bits_below(limit - word * 64) if limit > word * 64 else 0
            return -1 if common == 0 else word * 64 + highest_bit(less if less != 0 else common)
    found = bitset_last_common(a, b, limit)
    return found if found >= 0 else bitset_last_common(a, b, BITSET_NO_LIMIT)
