# SPDX-License-Identifier: MIT
"""Packets appended to an output buffer. Each function returns FG_OK or FG_ENOMEM, and appends all of a packet or nothing."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from fastgear.base.blob cimport blob_t
from fastgear.base.buffer cimport buffer_t
from fastgear.protocol.packet cimport packet_t, slice_t

cdef enum:
    MAX_DIGITS = 20         # of a uint64_t in decimal

cdef inline slice_t slice_of(const void* bytes, size_t length) noexcept nogil:
    cdef slice_t result
    result.bytes = <const uint8_t*>bytes
    result.length = length
    return result

# Write value in decimal to `to` (room for MAX_DIGITS), return the number of digits.
cdef size_t format_u64(uint8_t* to, uint64_t value) noexcept nogil

# Header alone, for a packet of `size` bytes after it.
cdef void encode_header(uint8_t* to, bint is_request, int type, size_t size) noexcept nogil

# The parts joined by NULs; data, where a type has them, are the last part.
cdef int encode_packet(buffer_t* out, bint is_request, int type, const slice_t* parts, int count) noexcept nogil

# The same with data by reference: `parts` are the arguments only, each followed by its NUL.
cdef int encode_packet_blob(
    buffer_t* out, bint is_request, int type, const slice_t* parts, int count, blob_t* blob, size_t offset, size_t length
) noexcept nogil

cdef int encode_empty(buffer_t* out, int type) noexcept nogil

# An ERROR packet; both strings end in NUL, as C has them.
cdef int encode_error(buffer_t* out, const char* code, const char* text) noexcept nogil
