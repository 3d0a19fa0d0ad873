# SPDX-License-Identifier: MIT
"""A table of the jobs of which something is still to come. One that is given out twice shows at once, or is left at the end."""

from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from fastgear.base.alloc cimport fg_calloc, fg_free
from fastgear.base.hash cimport hash_bytes
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.base.table cimport (
    table_begin, table_cursor_t, table_each, table_first, table_free, table_init, table_insert, table_length, table_next,
    table_node_t, table_remove,
)
from fastgear.bench.model cimport MAX_HANDLE, known_t


cdef inline known_t* known_from_node(table_node_t* node) noexcept nogil:
    return <known_t*>(<char*>node - <size_t>&(<known_t*>NULL).node)


cdef known_t* find(handles_t* handles, slice_t handle, uint64_t hash) noexcept nogil:
    cdef table_node_t* node = table_first(&handles.table, hash)
    cdef known_t* known
    while node != NULL:
        known = known_from_node(node)
        if known.length == handle.length and memcmp(known.handle, handle.bytes, handle.length) == 0:
            return known
        node = table_next(node)
    return NULL


cdef known_t* insert(handles_t* handles, slice_t handle, uint64_t hash) noexcept nogil:
    cdef known_t* known = <known_t*>fg_calloc(1, sizeof(known_t))
    if known == NULL:
        return NULL
    known.node.hash = hash
    known.length = <unsigned char>handle.length
    memcpy(known.handle, handle.bytes, handle.length)
    if table_insert(&handles.table, &known.node) != FG_OK:
        fg_free(known)
        return NULL
    return known


cdef int handles_saw(handles_t* handles, slice_t handle, int seen) noexcept nogil:
    cdef uint64_t hash = hash_bytes(handle.bytes, handle.length, handles.key, 0)
    cdef known_t* known
    if handle.length > MAX_HANDLE:
        handle.length = MAX_HANDLE
    known = find(handles, handle, hash)
    if known == NULL:
        known = insert(handles, handle, hash)
    if known == NULL:
        return FG_ENOMEM
    if known.seen & seen:
        return HANDLE_TWICE
    known.seen |= seen
    if known.seen == SEEN_ALL:
        table_remove(&handles.table, &known.node)
        fg_free(known)
    return FG_OK


cdef class Handles:
    """May be shared by loads that follow each other: one submits what the other takes."""

    def __cinit__(self):
        table_init(&self.handles.table)

    def __dealloc__(self):
        cdef table_cursor_t cursor = table_begin()
        cdef table_node_t* node = table_each(&self.handles.table, &cursor)
        cdef table_node_t* next
        while node != NULL:
            next = table_each(&self.handles.table, &cursor)
            fg_free(known_from_node(node))
            node = next
        table_free(&self.handles.table)

    def __len__(self):
        """How many jobs there are of which something is still to come."""
        return table_length(&self.handles.table)
