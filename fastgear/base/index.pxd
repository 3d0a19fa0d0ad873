# SPDX-License-Identifier: MIT
"""A hash index of other people's things that grows and shrinks some places at a time, so that no operation pays for all.

Beside table.pxd: the hash lies in the index and not in what is found, so that a search in vain touches one line of memory, and
growing touches nothing else. It is for large sets that are mostly asked for what they have not; for small ones a table takes less.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    /* A function that did nothing else would be without effect to gcc, which leaves out the calls of such; hence the asm. */
    static inline void fg_prefetch(const void *at) { __builtin_prefetch(at); __asm__ volatile(""); }
    """
    void prefetch "fg_prefetch"(const void*) noexcept nogil

cdef enum:
    LINE = 4                    # entries in a line of the caches

ctypedef struct entry_t:
    uint64_t hash
    void* item                  # borrowed; NULL: nothing is here

ctypedef struct index_t:
    entry_t* entries            # owned; NULL before the first insert
    size_t mask                 # number of them minus one
    entry_t* old                # owned, being emptied into entries, or NULL
    size_t old_mask
    size_t begin                # behind an empty place of old: where the emptying began
    size_t moved                # so many old places from there on have been emptied
    uint32_t rest               # operations before that begins
    size_t length               # items

ctypedef struct index_cursor_t:
    const entry_t* entries
    uint64_t hash
    size_t mask
    size_t at                   # place to look at next
    size_t distance             # of it from where the hash belongs

cdef void index_init(index_t* index) noexcept nogil
cdef void index_free(index_t* index) noexcept nogil  # the places; the items are others' property
cdef int index_insert(index_t* index, uint64_t hash, void* item) noexcept nogil  # FG_ENOMEM only when there is hardly a place left
cdef void index_remove(index_t* index, uint64_t hash, void* item) noexcept nogil  # it must be there

cdef inline bint index_is_old(const index_t* index, uint64_t hash) noexcept nogil:
    """Whether what has this hash is among the old ones still, and what comes goes there."""
    return index.old != NULL and ((hash - index.begin) & index.old_mask) >= index.moved

# Let the memory come where this hash would be found: its line and the next, into which every other search goes on.
cdef inline void index_prefetch(const index_t* index, uint64_t hash) noexcept nogil:
    cdef const entry_t* home
    if index.entries == NULL:
        return
    home = &index.old[hash & index.old_mask] if index_is_old(index, hash) else &index.entries[hash & index.mask]
    prefetch(home)
    prefetch(home + LINE)

# The first item of exactly this hash, and the one after it; NULL at the end. Equal hashes are not yet equal keys. Nothing may be
# inserted or removed between.
cdef inline void* index_first(const index_t* index, uint64_t hash, index_cursor_t* cursor) noexcept nogil:
    cdef bint is_old = index_is_old(index, hash)
    cursor.entries = index.old if is_old else index.entries
    cursor.mask = index.old_mask if is_old else index.mask
    cursor.hash = hash
    cursor.at = hash & cursor.mask
    cursor.distance = 0
    return index_next(cursor) if index.entries != NULL else NULL

cdef inline void* index_next(index_cursor_t* cursor) noexcept nogil:
    """Entries stand in the order of how far they are from home, so that one that is nearer ends the search."""
    cdef const entry_t* entry = &cursor.entries[cursor.at]
    while entry.item != NULL and ((cursor.at - entry.hash) & cursor.mask) >= cursor.distance:
        cursor.at = (cursor.at + 1) & cursor.mask
        cursor.distance += 1
        if entry.hash == cursor.hash:
            return entry.item
        entry = &cursor.entries[cursor.at]
    return NULL

cdef inline size_t index_length(const index_t* index) noexcept nogil:
    return index.length
