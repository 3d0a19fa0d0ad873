# SPDX-License-Identifier: MIT
"""Slabs of equal pieces. A slab begins with its slab_t and lies at a multiple of its size, so that a piece finds it.

Under AddressSanitizer each piece comes from the heap, where it sees who uses one that was given back.
"""

from libc.stdint cimport uint32_t, uintptr_t

from fastgear.base.alloc cimport FG_KEEPS, fg_free, fg_gone, fg_have, fg_malloc, fg_may_have
from fastgear.base.check cimport fg_check
from fastgear.base.list cimport (
    link_init, link_is_linked, link_remove, link_unlink, list_first, list_init, list_is_empty, list_pop_front,
    list_push_back, list_push_front,
)
from fastgear.base.pages cimport pages_free, pages_new_aligned

cdef enum:
    SLAB = 1 << 18              # bytes of one
    KEPT = 4                    # spare ones

ctypedef struct slab_t:
    link_t in_list              # slabs_t.open or slabs_t.spare; on neither while it is full
    void* given_back            # pieces, each of which begins with the address of the next
    uint32_t unused             # where what was never taken begins
    uint32_t size               # of a piece
    uint32_t taken              # pieces

cdef enum:
    FIRST = 64                  # where the first piece lies: behind slab_t, on a cache line of its own


cdef inline slab_t* slab_of(void* piece) noexcept nogil:
    return <slab_t*>(<uintptr_t>piece & ~<uintptr_t>(SLAB - 1))


cdef inline size_t steps(size_t size) noexcept nogil:
    return (size + SLAB_STEP - 1) // SLAB_STEP


cdef inline bint is_full(const slab_t* slab) noexcept nogil:
    return slab.given_back == NULL and slab.unused + slab.size > SLAB


cdef void slabs_init(slabs_t* slabs) noexcept nogil:
    cdef int i
    for i in range(SLAB_CLASSES + 1):
        list_init(&slabs.open[i])
    list_init(&slabs.spare)
    slabs.spares = 0


cdef void slabs_free(slabs_t* slabs) noexcept nogil:
    cdef int i
    for i in range(SLAB_CLASSES + 1):
        fg_check(list_is_empty(&slabs.open[i]))
    while not list_is_empty(&slabs.spare):
        pages_free(list_pop_front(&slabs.spare), SLAB)  # in_list is the first member
    slabs.spares = 0


cdef slab_t* open_slab(slabs_t* slabs, size_t count) noexcept nogil:
    """Of pieces of so many steps."""
    cdef slab_t* slab = <slab_t*>list_pop_front(&slabs.spare)
    if slab != NULL:
        slabs.spares -= 1
    else:
        slab = <slab_t*>pages_new_aligned(SLAB)
        if slab == NULL:
            return NULL
        link_init(&slab.in_list)
    slab.given_back = NULL
    slab.unused = FIRST
    slab.size = <uint32_t>(count * SLAB_STEP)
    slab.taken = 0
    list_push_front(&slabs.open[count], &slab.in_list)
    return slab


cdef void* slabs_take(slabs_t* slabs, size_t size) noexcept nogil:
    cdef size_t count = steps(size)
    cdef slab_t* slab
    if not FG_KEEPS or count > SLAB_CLASSES:
        return fg_malloc(size)
    if not fg_may_have():
        return NULL
    slab = <slab_t*>list_first(&slabs.open[count])
    if slab == NULL:
        slab = open_slab(slabs, count)
        if slab == NULL:
            return NULL
    return take_from(slab)


cdef inline void* take_from(slab_t* slab) noexcept nogil:
    cdef void* piece = slab.given_back
    if piece != NULL:
        slab.given_back = (<void**>piece)[0]
    else:
        piece = <char*>slab + slab.unused
        slab.unused += slab.size
    slab.taken += 1
    if is_full(slab):
        link_remove(&slab.in_list)
    fg_have(piece)
    return piece


cdef void slabs_give(slabs_t* slabs, void* piece, size_t size) noexcept nogil:
    cdef size_t count = steps(size)
    cdef slab_t* slab
    if not FG_KEEPS or count > SLAB_CLASSES:
        fg_free(piece)
        return
    slab = slab_of(piece)
    fg_check(slab.size == count * SLAB_STEP and slab.taken > 0)
    fg_gone(piece)
    (<void**>piece)[0] = slab.given_back
    slab.given_back = piece
    slab.taken -= 1
    if slab.taken == 0:
        close_slab(slabs, slab)
    elif not link_is_linked(&slab.in_list):
        list_push_back(&slabs.open[count], &slab.in_list)


cdef void close_slab(slabs_t* slabs, slab_t* slab) noexcept nogil:
    link_unlink(&slab.in_list)
    if slabs.spares < KEPT:
        slabs.spares += 1
        list_push_front(&slabs.spare, &slab.in_list)
    else:
        pages_free(slab, SLAB)
