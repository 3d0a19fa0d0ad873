# SPDX-License-Identifier: MIT
"""Sparse bit sets. See bitset.pxd."""

from libc.string cimport memcpy

from fastgear.base.alloc cimport fg_calloc, fg_free
from fastgear.base.status cimport FG_ENOMEM, FG_OK


cdef void bitset_init(bitset_t* set) noexcept nogil:
    set.leaves = NULL
    set.summary = NULL
    set.capacity = 0


cdef void bitset_free(bitset_t* set) noexcept nogil:
    cdef size_t i
    for i in range(set.capacity):
        fg_free(set.leaves[i])
    fg_free(set.leaves)
    fg_free(set.summary)
    bitset_init(set)


cdef int grow(bitset_t* set, size_t leaf) noexcept nogil:
    cdef size_t capacity = set.capacity * 2 if set.capacity > 0 else COVERED
    cdef leaf_t** leaves
    cdef uint64_t* summary
    while capacity <= leaf:
        capacity *= 2
    leaves = <leaf_t**>fg_calloc(capacity, sizeof(leaf_t*))
    summary = <uint64_t*>fg_calloc(capacity // COVERED, sizeof(uint64_t))
    if leaves == NULL or summary == NULL:
        fg_free(leaves)
        fg_free(summary)
        return FG_ENOMEM
    if set.capacity > 0:
        memcpy(leaves, set.leaves, set.capacity * sizeof(leaf_t*))
        memcpy(summary, set.summary, set.capacity // COVERED * sizeof(uint64_t))
    fg_free(set.leaves)
    fg_free(set.summary)
    set.leaves = leaves
    set.summary = summary
    set.capacity = capacity
    return FG_OK


cdef int bitset_add(bitset_t* set, size_t member) noexcept nogil:
    cdef size_t leaf = member // LEAF_BITS, word = member // 64
    if leaf >= set.capacity and grow(set, leaf) != FG_OK:
        return FG_ENOMEM
    if set.leaves[leaf] == NULL:
        set.leaves[leaf] = <leaf_t*>fg_calloc(1, sizeof(leaf_t))
        if set.leaves[leaf] == NULL:
            return FG_ENOMEM
    bitset_word(set, word)[0] |= <uint64_t>1 << (member % 64)
    set.summary[word // 64] |= <uint64_t>1 << (word % 64)
    return FG_OK


cdef void bitset_discard(bitset_t* set, size_t member) noexcept nogil:
    cdef size_t word = member // 64
    cdef uint64_t* bits
    if not bitset_has(set, member):
        return
    bits = bitset_word(set, word)
    bits[0] &= ~(<uint64_t>1 << (member % 64))
    if bits[0] == 0:
        set.summary[word // 64] &= ~(<uint64_t>1 << (word % 64))


cdef ssize_t bitset_last_common(const bitset_t* a, const bitset_t* b, size_t limit) noexcept nogil:
    cdef size_t words = min(a.capacity, b.capacity) * LEAF_WORDS
    cdef size_t word, i
    cdef uint64_t candidates, common
    if words == 0 or limit == 0:
        return -1
    word = words - 1 if limit > words * 64 else (limit - 1) // 64
    i = word // 64
    candidates = a.summary[i] & b.summary[i] & bits_below(word % 64 + 1)
    while True:
        while candidates != 0:
            word = i * 64 + highest_bit(candidates)
            common = bitset_word(a, word)[0] & bitset_word(b, word)[0] & bits_below(limit - word * 64)
            if common != 0:
                return word * 64 + highest_bit(common)
            candidates &= bits_below(word % 64)
        if i == 0:
            return -1
        i -= 1
        candidates = a.summary[i] & b.summary[i]
