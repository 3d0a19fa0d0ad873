# SPDX-License-Identifier: MIT
"""Locks that are tried for, and given back whatever happens.

`lock.acquire(timeout=...)` before a `try` loses the lock when a signal's handler raises between the two, and then everybody
waits for it forever. Here Python sees its signals before the lock is taken, or when it is sure to be given back.
"""

__all__ = ["Trying"]


cdef class Trying:
    """`with Trying(lock, seconds) as ours:` has the lock where `ours` is true. 0 does not wait, -1 waits for ever."""

    cdef object lock
    cdef object seconds
    cdef bint ours

    def __init__(self, lock not None, seconds not None):
        self.lock, self.seconds = lock, seconds

    def __enter__(self):
        self.ours = self.lock.acquire(True, self.seconds)
        return self.ours

    def __exit__(self, *_error):
        if self.ours:
            self.ours = False
            self.lock.release()
