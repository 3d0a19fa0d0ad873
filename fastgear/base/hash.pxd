# SPDX-License-Identifier: MIT
"""Hashes, see hash.h."""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

cdef extern from "hash.h" nogil:
    uint64_t hash_bytes(const void* bytes, size_t length, uint64_t k0, uint64_t k1)
    uint64_t hash_u64(uint64_t x)
