# SPDX-License-Identifier: MIT
"""Which jobs were acknowledged, given out and done, one by one: for debug builds, and who asks for it."""

from fastgear.bench.model cimport handles_t
from fastgear.protocol.packet cimport slice_t

cdef enum:                      # what is known of a job; a set of bits
    SEEN_CREATED = 1
    SEEN_ASSIGNED = 2
    SEEN_FINISHED = 4           # its result is with the client; or it is a background job, which has none
    SEEN_ALL = 7

cdef enum:
    HANDLE_TWICE = -31          # that was known of it already

# FG_OK, FG_ENOMEM or HANDLE_TWICE. Who is known in all is forgotten.
cdef int handles_saw(handles_t* handles, slice_t handle, int seen) noexcept nogil

cdef class Handles:
    cdef handles_t handles
