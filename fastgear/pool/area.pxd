# SPDX-License-Identifier: MIT
"""The memory that a worker process shares with its pool: what it is doing, and what it has done of it.

Of one frame at a time, the worker claims its tasks one after the other and writes a record of each outcome. The pool may
look at any time, take records that are complete, and close the frame, after which no task of it is claimed any more. So
nothing that is finished is lost with a worker, and nothing that is not begun has to wait for one.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

cdef extern from "shared.h" nogil:
    uint64_t shared_load(const uint64_t* word)
    void shared_store(uint64_t* word, uint64_t value)
    bint shared_swap(uint64_t* word, uint64_t before, uint64_t after)

ctypedef struct area_t:
    uint64_t owner              # pid of the worker; 0: free
    uint64_t claimed            # CLOSED, the frame's number, and how many of its tasks were begun; 0: no frame in hand
    uint64_t base               # tasks of it whose records have left this memory
    uint64_t used               # bytes of the records that are here and complete
    uint64_t begun_ns           # when the task in hand was begun, now and then; on the monotonic clock
    uint64_t done               # tasks in all its frames but the one in hand
    uint64_t reserved[2]
    uint8_t records[1]          # one after the other, see values.pxd

cdef enum:
    HEAD = 64                   # bytes before the records
    FRAME_SHIFT = 32

cdef class Area:
    cdef area_t* area
    cdef size_t capacity        # bytes of records
    cdef object memory          # keeps the mapping
