# SPDX-License-Identifier: MIT
"""Positional arguments of calls on their way to a worker: plain ones as records, see values.pxd, without a pickle.

For each call there is a byte, which is how many arguments it has, and their records; or OTHERS, and the arguments are elsewhere.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

cdef enum:
    OTHERS = 255

# Whether these can travel so: few, immutable, and small.
cdef bint are_plain(tuple args) noexcept

cdef class ArgumentsWriter:
    cdef uint8_t* data          # owned
    cdef size_t used
    cdef size_t room

    cdef int add(self, tuple args) except -1
    cdef int add_other(self) except -1
    cdef bytes take(self)
    cdef int add_byte(self, uint8_t byte) except -1
    cdef int grow(self) except -1

cdef class ArgumentsReader:
    cdef bytes data
    cdef Py_ssize_t at

    cdef tuple next(self)       # None: they are elsewhere
