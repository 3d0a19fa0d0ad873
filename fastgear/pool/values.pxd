# SPDX-License-Identifier: MIT
"""Outcomes of tasks as bytes: small values of the common types as they are, everything else pickled.

A record is a letter and what it says: N none, T true, F false, I integer of 64 bits, D double, S text and B bytes (32 bits
of length before them), P a pickle (likewise), X a pickled exception (likewise), O a pickle whose large buffers are elsewhere.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

cdef enum:
    NOT_PLAIN = -1              # to be pickled
    NO_ROOM = -2

# Write a plain value to `to` and return how many bytes it took, NOT_PLAIN, or NO_ROOM.
cdef Py_ssize_t put_plain(uint8_t* to, size_t room, object value) noexcept

# Append the plain value of the record at `at` to `out`, and return where the next one is. Raises ValueError for anything else.
cdef const uint8_t* read_plain(const uint8_t* at, const uint8_t* last, list out) except NULL

# Write letter, length and bytes: 5 bytes and those.
cdef void put_counted(uint8_t* to, char letter, const uint8_t* bytes, size_t length) noexcept nogil
