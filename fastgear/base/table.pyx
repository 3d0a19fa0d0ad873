# SPDX-License-Identifier: MIT
"""Growing and shrinking hash tables.

A resize allocates the new buckets and then empties the old ones MOVES at a time, with every insert and remove. A hash is
looked for in its old bucket until that one has been emptied, so each hash always has exactly one bucket.
"""

from fastgear.base.check cimport fg_check
from fastgear.base.pages cimport array_free, array_new, pages_forget
from fastgear.base.status cimport FG_ENOMEM, FG_OK

cdef enum:
    SMALLEST = 16               # buckets
    MOVES = 8                   # old buckets emptied per operation
    KEPT = 1024                 # buckets that a table keeps, however few nodes it has
    MANY = 1 << 17              # buckets; arrays of these are pages of their own, and go back this many at a time


cdef void table_init(table_t* table) noexcept nogil:
    table.buckets = table.old = NULL
    table.mask = table.old_mask = table.moved = table.length = 0


cdef inline table_node_t** buckets_new(size_t count) noexcept nogil:
    return <table_node_t**>array_new(count * sizeof(table_node_t*), count >= MANY)


cdef inline void buckets_free(table_node_t** buckets, size_t count) noexcept nogil:
    array_free(buckets, count * sizeof(table_node_t*), count >= MANY)


cdef void table_free(table_t* table) noexcept nogil:
    buckets_free(table.buckets, table.mask + 1)
    buckets_free(table.old, table.old_mask + 1)
    table_init(table)


cdef int resize(table_t* table, size_t size) noexcept nogil:
    """Begin to move to so many buckets; FG_ENOMEM leaves everything as it was, only with longer chains."""
    cdef table_node_t** buckets = buckets_new(size)
    if buckets == NULL:
        return FG_ENOMEM
    table.old = table.buckets
    table.old_mask = table.mask
    table.moved = 0
    table.buckets = buckets
    table.mask = size - 1
    return FG_OK


cdef void move_some(table_t* table) noexcept nogil:
    cdef table_node_t* node
    cdef table_node_t* next
    cdef int _i
    for _i in range(MOVES):
        node = table.old[table.moved]
        table.old[table.moved] = NULL
        table.moved += 1
        while node != NULL:
            next = node.next
            node.next = table.buckets[node.hash & table.mask]
            table.buckets[node.hash & table.mask] = node
            node = next
        if table.moved % MANY == 0:
            pages_forget(table.old + table.moved - MANY, table.old + table.moved)
        if table.moved > table.old_mask:
            buckets_free(table.old, table.old_mask + 1)
            table.old = NULL
            return


cdef inline void keep_in_shape(table_t* table) noexcept nogil:
    if table.old != NULL:
        move_some(table)
    elif table.length > table.mask:
        resize(table, (table.mask + 1) * 2)
    elif table.mask >= KEPT and table.length < table.mask // 8:
        resize(table, max((table.mask + 1) // 4, <size_t>KEPT))


cdef int table_insert(table_t* table, table_node_t* node) noexcept nogil:
    cdef table_node_t** bucket
    if table.buckets == NULL and resize(table, SMALLEST) != FG_OK:
        return FG_ENOMEM
    bucket = table_bucket(table, node.hash)
    node.next = bucket[0]
    bucket[0] = node
    table.length += 1
    keep_in_shape(table)
    return FG_OK


cdef void table_remove(table_t* table, table_node_t* node) noexcept nogil:
    cdef table_node_t** at = table_bucket(table, node.hash)
    while at[0] != node:
        fg_check(at[0] != NULL)
        at = &at[0].next
    at[0] = node.next
    table.length -= 1
    if table.length == 0 and table.mask >= KEPT:
        table_free(table)  # after a fast drain the moving to fewer buckets is far behind
    else:
        keep_in_shape(table)


cdef table_node_t* table_each(const table_t* table, table_cursor_t* cursor) noexcept nogil:
    cdef table_node_t* node = cursor.next
    while node == NULL:
        if not cursor.in_new and (table.old == NULL or cursor.bucket > table.old_mask):
            cursor.in_new = True
            cursor.bucket = 0
        if cursor.in_new and (table.buckets == NULL or cursor.bucket > table.mask):
            return NULL
        node = table.buckets[cursor.bucket] if cursor.in_new else table.old[cursor.bucket]
        cursor.bucket += 1
    cursor.next = node.next
    return node
