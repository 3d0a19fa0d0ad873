# SPDX-License-Identifier: MIT
"""Sparse bit sets. See bitset.pxd."""

from libc.string cimport memcpy

from fastgear.base.alloc cimport fg_calloc, fg_free
from fastgear.base.status cimport FG_ENOMEM, FG_OK

cdef extern from *:
    int highest_bit "63 - __builtin_clzll"(unsigned long long) noexcept nogil  # of a number that is not 0


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
    cdef size_t capacity = set.capacity * 2 if set.capacity > 0 else 64
    cdef leaf_t** leaves
    cdef uint64_t* summary
    while capacity <= leaf:
        capacity *= 2
    leaves = <leaf_t**>fg_calloc(capacity, sizeof(leaf_t*))
    summary = <uint64_t*>fg_calloc(capacity // 64, sizeof(uint64_t))
    if leaves == NULL or summary == NULL:
        fg_free(leaves)
        fg_free(summary)
        return FG_ENOMEM
    if set.capacity > 0:
        memcpy(leaves, set.leaves, set.capacity * sizeof(leaf_t*))
        memcpy(summary, set.summary, set.capacity // 8)
    fg_free(set.leaves)
    fg_free(set.summary)
    set.leaves = leaves
    set.summary = summary
    set.capacity = capacity
    return FG_OK


cdef int bitset_add(bitset_t* set, size_t member) noexcept nogil:
    cdef size_t leaf = member // LEAF_BITS
    if leaf >= set.capacity and grow(set, leaf) != FG_OK:
        return FG_ENOMEM
    if set.leaves[leaf] == NULL:
        set.leaves[leaf] = <leaf_t*>fg_calloc(1, sizeof(leaf_t))
        if set.leaves[leaf] == NULL:
            return FG_ENOMEM
    set.leaves[leaf].words[member // 64 % LEAF_WORDS] |= <uint64_t>1 << (member % 64)
    set.summary[leaf // 64] |= <uint64_t>1 << (leaf % 64)
    return FG_OK


cdef inline bint is_zero(const leaf_t* leaf) noexcept nogil:
    cdef uint64_t any = 0
    cdef int i
    for i in range(LEAF_WORDS):
        any |= leaf.words[i]
    return any == 0


cdef void bitset_discard(bitset_t* set, size_t member) noexcept nogil:
    cdef size_t leaf = member // LEAF_BITS
    if not bitset_has(set, member):
        return
    set.leaves[leaf].words[member // 64 % LEAF_WORDS] &= ~(<uint64_t>1 << (member % 64))
    if is_zero(set.leaves[leaf]):
        set.summary[leaf // 64] &= ~(<uint64_t>1 << (leaf % 64))


cdef inline uint64_t below(size_t bits) noexcept nogil:
    """A word with its lowest `bits` bits set."""
    return ~<uint64_t>0 if bits >= 64 else (<uint64_t>1 << bits) - 1


cdef ssize_t last_in_leaf(const leaf_t* a, const leaf_t* b, size_t limit) noexcept nogil:
    """The same question within one leaf; limit counts from its beginning."""
    cdef ssize_t i = LEAF_WORDS - 1 if limit >= LEAF_BITS else <ssize_t>(limit // 64)
    cdef uint64_t common
    while i >= 0:
        common = a.words[i] & b.words[i]
        if limit < <size_t>(i + 1) * 64:
            common &= below(limit - <size_t>i * 64)
        if common != 0:
            return i * 64 + highest_bit(common)
        i -= 1
    return -1


cdef ssize_t bitset_last_common(const bitset_t* a, const bitset_t* b, size_t limit) noexcept nogil:
    cdef size_t capacity = a.capacity if a.capacity < b.capacity else b.capacity
    cdef ssize_t i, leaf, found
    cdef uint64_t candidates
    if capacity == 0 or limit == 0:
        return -1
    if limit > capacity * LEAF_BITS:
        limit = capacity * LEAF_BITS
    i = <ssize_t>((limit - 1) // LEAF_BITS // 64)
    candidates = a.summary[i] & b.summary[i] & below((limit - 1) // LEAF_BITS % 64 + 1)
    while True:
        while candidates != 0:
            leaf = i * 64 + highest_bit(candidates)
            found = last_in_leaf(a.leaves[leaf], b.leaves[leaf], limit - <size_t>leaf * LEAF_BITS)
            if found >= 0:
                return leaf * LEAF_BITS + found
            candidates &= below(<size_t>(leaf % 64))
        i -= 1
        if i < 0:
            return -1
        candidates = a.summary[i] & b.summary[i]
