# SPDX-License-Identifier: MIT
"""Counted bytes: a large workload or result that several owners hold. One thread only; the count is not atomic.

A shelf keeps some for the next ones: the system takes as long to give fresh memory as to copy into it twice.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

ctypedef struct blob_t:
    uint32_t references         # blob_release frees at the last
    size_t length               # bytes in use
    size_t capacity             # bytes there is room for
    uint8_t bytes[1]            # capacity bytes

cdef enum:
    SHELF_BLOBS = 16
    SHELF_LEAST = 1 << 17       # smaller ones are not worth it
    SHELF_BYTES = 40 << 20      # of all that are kept

ctypedef struct shelf_t:
    blob_t* blobs[SHELF_BLOBS]  # each held; of use again once nobody else holds it. NULL: none
    size_t bytes                # their capacities
    uint32_t next               # where the next one goes, and where the oldest is

cdef blob_t* blob_new(size_t capacity) noexcept nogil  # with one reference and no bytes; NULL: no memory
# For its only owner. NULL: no memory, and the old one stays as it was.
cdef blob_t* blob_resize(blob_t* blob, size_t capacity) noexcept nogil
cdef blob_t* blob_copy(const void* bytes, size_t length) noexcept nogil  # with one reference; NULL: no memory
cdef void blob_release(blob_t* blob) noexcept nogil

cdef void shelf_put(shelf_t* shelf, blob_t* blob) noexcept nogil  # the caller's reference; older ones may have to go
cdef blob_t* shelf_take(shelf_t* shelf, size_t length) noexcept nogil  # with one reference, and room for that; or NULL
cdef void shelf_clear(shelf_t* shelf) noexcept nogil

cdef inline void blob_hold(blob_t* blob) noexcept nogil:
    blob.references += 1
