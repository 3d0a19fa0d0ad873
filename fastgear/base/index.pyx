# SPDX-License-Identifier: MIT
"""Open addressing, one place after the other, those farther from home first ("Robin Hood hashing", Celis 1986).

A resize makes the new places and then empties the old ones, with every insert and remove, some places and the rest of the run that
they end in, beginning behind an empty place. So where a hash belongs among the old ones says whether what has it is there or among
the new ones, also what comes meanwhile. Twice as many places keep the order, so that moving reads one row and writes two, and new
memory is touched piece by piece: of huge pages each has to be cleared when it is first touched.
"""

from fastgear.base.check cimport fg_check
from fastgear.base.pages cimport array_free, array_new, pages_forget, pages_touch
from fastgear.base.status cimport FG_ENOMEM, FG_OK

cdef enum:
    SMALLEST = 16               # places
    MOVES = 16                  # old places emptied per operation, at least
    KEPT = 1024                 # places that an index keeps, however few items it has
    REST = 2000                 # operations between the first pages of the two new rows
    MANY = 1 << 17              # places; arrays of these are pages of their own, and go back this many at a time


cdef void index_init(index_t* index) noexcept nogil:
    index.entries = index.old = NULL
    index.mask = index.old_mask = index.begin = index.moved = index.length = 0
    index.rest = 0


cdef inline entry_t* entries_new(size_t count) noexcept nogil:
    return <entry_t*>array_new(count * sizeof(entry_t), count >= MANY)


cdef inline void entries_free(entry_t* entries, size_t count) noexcept nogil:
    array_free(entries, count * sizeof(entry_t), count >= MANY)


cdef void index_free(index_t* index) noexcept nogil:
    entries_free(index.entries, index.mask + 1)
    entries_free(index.old, index.old_mask + 1)
    index_init(index)


cdef inline size_t distance_at(const entry_t* entries, size_t mask, size_t at) noexcept nogil:
    """How far the entry at this place is from where it belongs."""
    return (at - entries[at].hash) & mask


cdef inline void put(entry_t* entries, size_t mask, entry_t entry) noexcept nogil:
    """There must be an empty place."""
    cdef size_t at = entry.hash & mask, distance = 0, theirs
    cdef entry_t other
    while entries[at].item != NULL:
        theirs = distance_at(entries, mask, at)
        if theirs < distance:
            other = entries[at]
            entries[at] = entry
            entry = other
            distance = theirs
        at = (at + 1) & mask
        distance += 1
    entries[at] = entry


cdef int resize(index_t* index, size_t size) noexcept nogil:
    """Begin to move to so many places; FG_ENOMEM leaves everything as it was."""
    cdef entry_t* entries = entries_new(size)
    if entries == NULL:
        return FG_ENOMEM
    index.old = index.entries
    index.old_mask = index.mask
    index.begin = index.moved = 0
    index.entries = entries
    index.mask = size - 1
    if index.old != NULL:
        while index.old[index.begin].item != NULL:
            index.begin += 1
        index.begin = (index.begin + 1) & index.old_mask
    index.rest = REST if index.old_mask + 1 >= MANY else 0
    pages_touch(&index.entries[0])
    return FG_OK


cdef void turn_page(index_t* index, size_t at) noexcept nogil:
    """What was emptied goes back. Of the two new rows the next pages are made apart, since each of them may take a millisecond."""
    cdef size_t part = at % MANY
    if part == 0 and at - MANY > index.begin:
        pages_forget(index.old + at - MANY, index.old + at)
    elif part == MANY // 2:
        pages_touch(&index.entries[(at + MANY // 2) & index.mask])
    elif part == MANY // 4 * 3:
        pages_touch(&index.entries[(at + MANY // 4 + index.old_mask + 1) & index.mask])


cdef void move_some(index_t* index) noexcept nogil:
    """The last run may go on where the emptying began."""
    cdef size_t at, end = index.moved + MOVES
    cdef bint in_run = False
    if index.rest > 0:
        index.rest -= 1
        if index.rest == 0:
            pages_touch(&index.entries[(index.old_mask + 1) & index.mask])
        return
    while in_run or (index.moved <= index.old_mask and index.moved < end):
        at = (index.begin + index.moved) & index.old_mask
        in_run = index.old[at].item != NULL
        if in_run:
            put(index.entries, index.mask, index.old[at])
            index.old[at].item = NULL
        index.moved += 1
        if (at + 1) % (MANY // 4) == 0:
            turn_page(index, at + 1)
    if index.moved > index.old_mask:
        entries_free(index.old, index.old_mask + 1)
        index.old = NULL


cdef inline void keep_in_shape(index_t* index) noexcept nogil:
    cdef size_t size = index.mask + 1
    if index.old != NULL:
        move_some(index)
    elif index.length > size - size // 4:
        resize(index, size * 2)
    elif size > KEPT and index.length < size // 8:
        resize(index, max(size // 4, <size_t>KEPT))


cdef int index_insert(index_t* index, uint64_t hash, void* item) noexcept nogil:
    cdef entry_t entry
    if index.entries == NULL and resize(index, SMALLEST) != FG_OK:
        return FG_ENOMEM
    if index.length >= index.mask + 1 - (index.mask + 1) // 8:
        return FG_ENOMEM  # there was no memory for more places, and an end must be left to every search
    entry.hash = hash
    entry.item = item
    if index_is_old(index, hash):
        put(index.old, index.old_mask, entry)
    else:
        put(index.entries, index.mask, entry)
    index.length += 1
    keep_in_shape(index)
    return FG_OK


cdef void take_out(entry_t* entries, size_t mask, uint64_t hash, const void* item) noexcept nogil:
    """What stands behind it moves up, as far as it is not at home."""
    cdef size_t at = hash & mask, next
    while entries[at].item != item:
        fg_check(entries[at].item != NULL)
        at = (at + 1) & mask
    next = (at + 1) & mask
    while entries[next].item != NULL and distance_at(entries, mask, next) > 0:
        entries[at] = entries[next]
        at = next
        next = (next + 1) & mask
    entries[at].item = NULL


cdef void index_remove(index_t* index, uint64_t hash, void* item) noexcept nogil:
    if index_is_old(index, hash):
        take_out(index.old, index.old_mask, hash, item)
    else:
        take_out(index.entries, index.mask, hash, item)
    index.length -= 1
    if index.length == 0 and index.mask >= KEPT:
        index_free(index)  # after a fast drain the moving to fewer places is far behind
    else:
        keep_in_shape(index)
