# SPDX-License-Identifier: MIT
"""The loop as a Python object."""

from fastgear.server.model cimport loop_t

cdef class Loop:
    cdef loop_t loop
    cdef bytes verbose          # settings.verbose points into it
    cdef bint is_begun          # the constructor had its arguments
    cdef bint has_state         # loop.state was made
    cdef int open_descriptors(self) except -1
