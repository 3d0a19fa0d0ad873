# SPDX-License-Identifier: MIT
"""Counted bytes. See blob.pxd."""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from fastgear.base.alloc cimport fg_free, fg_gone, fg_have, fg_malloc, fg_realloc
from fastgear.base.check cimport fg_check


cdef blob_t* blob_new(size_t capacity) noexcept nogil:
    cdef blob_t* blob = <blob_t*>fg_malloc(sizeof(blob_t) + capacity)
    if blob == NULL:
        return NULL
    blob.references = 1
    blob.length = 0
    blob.capacity = capacity
    return blob


cdef blob_t* blob_copy(const void* bytes, size_t length) noexcept nogil:
    cdef blob_t* blob = blob_new(length)
    if blob != NULL:
        memcpy(blob.bytes, bytes, length)
        blob.length = length
    return blob


cdef blob_t* blob_resize(blob_t* blob, size_t capacity) noexcept nogil:
    cdef blob_t* resized
    fg_check(blob.references == 1 and capacity >= blob.length)
    resized = <blob_t*>fg_realloc(blob, sizeof(blob_t) + capacity)
    if resized != NULL:
        resized.capacity = capacity
    return resized


cdef void blob_release(blob_t* blob) noexcept nogil:
    fg_check(blob.references > 0)
    blob.references -= 1
    if blob.references == 0:
        fg_free(blob)


# -- shelves: what lies there is not counted as allocated

cdef void shelf_put(shelf_t* shelf, blob_t* blob) noexcept nogil:
    cdef uint32_t at = shelf.next
    cdef uint32_t i = at
    if blob.capacity < SHELF_LEAST or blob.capacity > SHELF_BYTES:
        blob_release(blob)
        return
    shelf.next = (at + 1) % SHELF_BLOBS
    shelf_drop(shelf, at)
    while shelf.bytes + blob.capacity > SHELF_BYTES:
        i = (i + 1) % SHELF_BLOBS
        shelf_drop(shelf, i)
    shelf.blobs[at] = blob
    shelf.bytes += blob.capacity
    fg_gone(blob)


cdef blob_t* shelf_take(shelf_t* shelf, size_t length) noexcept nogil:
    """One that would be more than half empty stays."""
    cdef blob_t* blob
    cdef int i
    if shelf.bytes < length:
        return NULL
    for i in range(SHELF_BLOBS):
        blob = shelf.blobs[i]
        if blob != NULL and blob.references == 1 and length <= blob.capacity and blob.capacity // 2 <= length:
            shelf.blobs[i] = NULL
            shelf.bytes -= blob.capacity
            blob.length = 0
            fg_have(blob)
            return blob
    return NULL


cdef void shelf_clear(shelf_t* shelf) noexcept nogil:
    cdef int i
    for i in range(SHELF_BLOBS):
        shelf_drop(shelf, i)


cdef inline void shelf_drop(shelf_t* shelf, uint32_t at) noexcept nogil:
    cdef blob_t* blob = shelf.blobs[at]
    if blob != NULL:
        shelf.blobs[at] = NULL
        shelf.bytes -= blob.capacity
        fg_have(blob)
        blob_release(blob)
