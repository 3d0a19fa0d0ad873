# SPDX-License-Identifier: MIT
"""Short copies, see copy.h."""

from libc.stddef cimport size_t

cdef extern from "copy.h" nogil:
    void copy_bytes(void* to, const void* bytes, size_t length)
