# SPDX-License-Identifier: MIT
"""Packets appended to an output buffer. Each function returns FG_OK or FG_ENOMEM, and appends all of a packet or nothing."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from fastgear.base.blob cimport blob_t
from fastgear.base.buffer cimport buffer_t
from fastgear.protocol.packet cimport HEADER_SIZE, MAGIC_REQUEST, MAGIC_RESPONSE, big_endian, packet_t, slice_t

cdef inline slice_t slice_of(const void* bytes, size_t length) noexcept nogil:
    cdef slice_t result
    result.bytes = <const uint8_t*>bytes
    result.length = length
    return result

# Header alone, for a packet of `size` bytes after it.
cdef inline void encode_header(uint8_t* to, bint is_request, int type, size_t size) noexcept nogil:
    cdef uint32_t[3] header
    header[0] = big_endian(MAGIC_REQUEST if is_request else MAGIC_RESPONSE)
    header[1] = big_endian(<uint32_t>type)
    header[2] = big_endian(<uint32_t>size)
    memcpy(to, header, HEADER_SIZE)

# The parts joined by NULs; data, where a type has them, are the last part.
cdef int encode_packet(buffer_t* out, bint is_request, int type, const slice_t* parts, int count) noexcept nogil

# The same with data by reference: `parts` are the arguments only, each followed by its NUL.
cdef int encode_packet_blob(
    buffer_t* out, bint is_request, int type, const slice_t* parts, int count, blob_t* blob, size_t offset, size_t length
) noexcept nogil

cdef int encode_empty(buffer_t* out, int type) noexcept nogil

# An ERROR packet; both strings end in NUL, as C has them.
cdef int encode_error(buffer_t* out, const char* code, const char* text) noexcept nogil
