# SPDX-License-Identifier: MIT
"""Small pieces of memory of one owner, by the size in slabs that go back to the system, one by one, as they become empty.

Under a heap what a long queue has left goes back at once, and takes its time, or never, since something lies on top.
"""

from libc.stddef cimport size_t

from fastgear.base.list cimport link_t

cdef enum:
    SLAB_STEP = 16              # sizes are rounded up to it
    SLAB_CLASSES = 64           # larger ones than SLAB_STEP times this come from the heap

ctypedef struct slabs_t:
    link_t open[SLAB_CLASSES + 1]  # slabs with room, by size in steps
    link_t spare                # slabs without a piece, kept for the next who needs one
    size_t spares

cdef void slabs_init(slabs_t* slabs) noexcept nogil
cdef void slabs_free(slabs_t* slabs) noexcept nogil  # once every piece has been given back
cdef void* slabs_take(slabs_t* slabs, size_t size) noexcept nogil  # not cleared; NULL: no memory
cdef void slabs_give(slabs_t* slabs, void* piece, size_t size) noexcept nogil  # with the size that was asked for
