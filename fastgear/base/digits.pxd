# SPDX-License-Identifier: MIT
"""Decimal numbers, see digits.h."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "digits.h" nogil:
    enum: MAX_DIGITS            # of a uint64_t
    enum: DIGITS_EIGHT          # what eight digits cannot say any more
    # Into a room of MAX_DIGITS, whatever the value; returns how many there are.
    size_t digits_write(uint8_t* to, uint64_t value)
    # Up to 19 digits and nothing else. False: that is something else.
    bint digits_read(const uint8_t* bytes, size_t length, uint64_t* value)
    # Exactly eight digits, with leading zeros.
    void digits_write_eight(uint8_t* to, uint32_t value)
    bint digits_read_eight(const uint8_t* bytes, uint64_t* value)
