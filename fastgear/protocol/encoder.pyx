# SPDX-License-Identifier: MIT
"""The encoder: packets appended to output buffers. Knows the wire's layout, not what a packet means."""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy, strlen

from fastgear.base.buffer cimport buffer_append_blob, buffer_commit, buffer_reserve
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.protocol.packet cimport HEADER_SIZE, MAGIC_REQUEST, MAGIC_RESPONSE, PacketType


cdef inline uint8_t* write_u32(uint8_t* to, uint32_t value) noexcept nogil:
    to[0] = value >> 24
    to[1] = (value >> 16) & 0xFF
    to[2] = (value >> 8) & 0xFF
    to[3] = value & 0xFF
    return to + 4


cdef inline uint8_t* write_bytes(uint8_t* to, const void* bytes, size_t length) noexcept nogil:
    if length > 0:
        memcpy(to, bytes, length)
    return to + length


cdef size_t format_u64(uint8_t* to, uint64_t value) noexcept nogil:
    cdef uint8_t digits[MAX_DIGITS]
    cdef size_t start = MAX_DIGITS
    while True:
        start -= 1
        digits[start] = <uint8_t>(48 + value % 10)
        value //= 10
        if value == 0:
            break
    memcpy(to, &digits[start], MAX_DIGITS - start)
    return MAX_DIGITS - start


cdef void encode_header(uint8_t* to, bint is_request, int type, size_t size) noexcept nogil:
    to = write_u32(to, MAGIC_REQUEST if is_request else MAGIC_RESPONSE)
    to = write_u32(to, <uint32_t>type)
    write_u32(to, <uint32_t>size)


cdef inline size_t joined_length(const slice_t* parts, int count) noexcept nogil:
    cdef size_t total = 0
    cdef int i
    for i in range(count):
        total += parts[i].length
    return total


cdef int encode_packet(buffer_t* out, bint is_request, int type, const slice_t* parts, int count) noexcept nogil:
    cdef size_t size = joined_length(parts, count) + (count - 1 if count > 1 else 0)
    cdef uint8_t* to = buffer_reserve(out, HEADER_SIZE + size)
    cdef int i
    if to == NULL:
        return FG_ENOMEM
    encode_header(to, is_request, type, size)
    to += HEADER_SIZE
    for i in range(count):
        if i > 0:
            to[0] = 0
            to += 1
        to = write_bytes(to, parts[i].bytes, parts[i].length)
    buffer_commit(out, HEADER_SIZE + size)
    return FG_OK


cdef int encode_packet_blob(
    buffer_t* out, bint is_request, int type, const slice_t* parts, int count, blob_t* blob, size_t offset, size_t length
) noexcept nogil:
    cdef size_t size = joined_length(parts, count) + count
    cdef uint8_t* start = buffer_reserve(out, HEADER_SIZE + size)
    cdef uint8_t* to = start
    cdef int i
    if start == NULL:
        return FG_ENOMEM
    encode_header(to, is_request, type, size + length)
    to += HEADER_SIZE
    for i in range(count):
        to = write_bytes(to, parts[i].bytes, parts[i].length)
        to[0] = 0
        to += 1
    buffer_commit(out, HEADER_SIZE + size)
    return buffer_append_blob(out, blob, offset, length)


cdef int encode_empty(buffer_t* out, int type) noexcept nogil:
    return encode_packet(out, False, type, NULL, 0)


cdef int encode_error(buffer_t* out, const char* code, const char* text) noexcept nogil:
    cdef slice_t parts[2]
    parts[0] = slice_of(code, strlen(code))
    parts[1] = slice_of(text, strlen(text))
    return encode_packet(out, False, PacketType.ERROR, parts, 2)
