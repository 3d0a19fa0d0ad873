# SPDX-License-Identifier: MIT
"""An intrusive hash table that grows and shrinks a few buckets at a time, so that no operation pays for a whole rehash."""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

ctypedef struct table_node_t:   # embedded in what is found
    table_node_t* next          # in the same bucket
    uint64_t hash               # set by the caller before table_insert

ctypedef struct table_t:
    table_node_t** buckets      # owned array of borrowed nodes; NULL before the first insert
    size_t mask                 # number of buckets minus one
    table_node_t** old          # owned array that is being emptied into buckets, or NULL
    size_t old_mask
    size_t moved                # old buckets below this are empty
    size_t length               # nodes

ctypedef struct table_cursor_t:
    table_node_t* next          # node to come in the bucket at hand
    size_t bucket               # to look at next: the old ones, then the others
    bint in_new

cdef void table_init(table_t* table) noexcept nogil
cdef void table_free(table_t* table) noexcept nogil  # the buckets; the nodes are others' property
cdef int table_insert(table_t* table, table_node_t* node) noexcept nogil  # FG_ENOMEM only when there are no buckets at all
cdef void table_remove(table_t* table, table_node_t* node) noexcept nogil

cdef inline table_cursor_t table_begin() noexcept nogil:
    cdef table_cursor_t cursor
    cursor.next = NULL
    cursor.bucket = 0
    cursor.in_new = False
    return cursor

# Every node once, NULL at the end; begin with table_begin. Nothing may be inserted or removed meanwhile; a node may be
# freed once the one after it has been asked for.
cdef table_node_t* table_each(const table_t* table, table_cursor_t* cursor) noexcept nogil

cdef inline size_t table_length(const table_t* table) noexcept nogil:
    return table.length

cdef inline table_node_t** table_bucket(const table_t* table, uint64_t hash) noexcept nogil:
    """Where a node of this hash is, and where a new one goes. There must be buckets."""
    if table.old != NULL and (hash & table.old_mask) >= table.moved:
        return &table.old[hash & table.old_mask]
    return &table.buckets[hash & table.mask]

cdef inline table_node_t* table_skip_to(table_node_t* node, uint64_t hash) noexcept nogil:
    while node != NULL and node.hash != hash:
        node = node.next
    return node

# The first node of exactly this hash, and the one after it; NULL at the end. Equal hashes are not yet equal keys.
cdef inline table_node_t* table_first(const table_t* table, uint64_t hash) noexcept nogil:
    return table_skip_to(table_bucket(table, hash)[0], hash) if table.buckets != NULL else NULL

cdef inline table_node_t* table_next(table_node_t* node) noexcept nogil:
    return table_skip_to(node.next, node.hash)
