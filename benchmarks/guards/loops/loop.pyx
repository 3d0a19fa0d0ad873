# SPDX-License-Identifier: MIT
"""What all loops are: things that are made once, and gone through as often as somebody likes."""


cdef class Loop:
    """`run(count)` goes so often through a hot path, and returns a number that all of it has a part in.

    The method with the loop is always called by a pointer, never inlined: callgrind finds it by its name.
    """

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        return 0

    def run(self, uint64_t count):
        cdef uint64_t found
        with nogil:
            found = self.repeat(count)
        return found
