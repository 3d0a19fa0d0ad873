# SPDX-License-Identifier: MIT
"""Counted bytes: a large workload or result that several owners hold. One thread only; the count is not atomic."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

ctypedef struct blob_t:
    uint32_t references         # blob_release frees at the last
    size_t length               # bytes in use
    size_t capacity             # bytes there is room for
    uint8_t bytes[1]            # capacity bytes

cdef blob_t* blob_new(size_t capacity) noexcept nogil  # with one reference and no bytes; NULL: no memory
# For its only owner. NULL: no memory, and the old one stays as it was.
cdef blob_t* blob_resize(blob_t* blob, size_t capacity) noexcept nogil
cdef blob_t* blob_copy(const void* bytes, size_t length) noexcept nogil  # with one reference; NULL: no memory
cdef void blob_release(blob_t* blob) noexcept nogil

cdef inline void blob_hold(blob_t* blob) noexcept nogil:
    blob.references += 1
