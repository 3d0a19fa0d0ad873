# SPDX-License-Identifier: MIT
"""fg_check, see check.h."""

cdef extern from "check.h" nogil:
    void fg_check(bint condition)
