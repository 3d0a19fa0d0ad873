# SPDX-License-Identifier: MIT
"""Counted bytes. See blob.pxd."""

from libc.string cimport memcpy

from fastgear.base.alloc cimport fg_free, fg_malloc, fg_realloc
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
