# SPDX-License-Identifier: MIT
"""The state of a future, for those who settle many."""


cdef class FutureState:
    cdef public object _state
    cdef public object _result
    cdef public object _exception
    cdef readonly object engine
    cdef object condition       # None: nobody has asked for it, so nobody waits, has callbacks, or is amid a change
    cdef list waiters           # None: none yet
    cdef list callbacks         # None: none yet

    cdef bint run(self) except -1
    cdef bint settle(self, value) noexcept
    cdef help(self, timeout)
