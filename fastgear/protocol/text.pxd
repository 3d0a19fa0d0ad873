# SPDX-License-Identifier: MIT
"""Text commands on the wire: a line cut into words, and replies appended to an output buffer."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from fastgear.base.buffer cimport buffer_t
from fastgear.protocol.packet cimport slice_t

cdef enum:
    MAX_WORDS = 8           # gearmand takes five and closes at a sixth; here further words are counted but not kept
    MAX_LINE = 8192         # bytes of a text command with its newline

ctypedef struct line_t:     # a view, as packet_t is
    slice_t words[MAX_WORDS]
    int count               # of all words, also those not kept
    size_t length           # of the line with its newline

# FG_OK, or FG_NEED_MORE when there is no newline yet.
cdef int line_read(const uint8_t* bytes, size_t available, line_t* line) noexcept nogil

# Without regard to case, as gearmand compares its commands. `word` is lower case and ends in NUL.
cdef bint word_is(slice_t found, const char* word) noexcept nogil

# The decimal number that is all of `found`, with an optional minus; False when it is not one or does not fit.
cdef bint parse_i64(slice_t found, long long* value) noexcept nogil

cdef int text_bytes(buffer_t* out, slice_t bytes) noexcept nogil
cdef int text_string(buffer_t* out, const char* string) noexcept nogil
cdef int text_number(buffer_t* out, uint64_t number) noexcept nogil

# A name that a client chose: bytes that would break a listing (control characters, and blanks where `blanks` is set) come as \\xNN.
cdef int text_name(buffer_t* out, slice_t name, bint blanks) noexcept nogil
