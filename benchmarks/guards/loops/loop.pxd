# SPDX-License-Identifier: MIT
"""What all loops are."""

from libc.stdint cimport uint64_t

cdef class Loop:
    cdef uint64_t repeat(self, uint64_t count) noexcept nogil

cdef inline uint64_t next_random(uint64_t* state) noexcept nogil:
    """xorshift64 (Marsaglia); never 0."""
    cdef uint64_t x = state[0]
    x ^= x << 13
    x ^= x >> 7
    x ^= x << 17
    state[0] = x
    return x
