# SPDX-License-Identifier: MIT
"""The encoder: packets appended to output buffers. Knows the wire's layout, not what a packet means."""

from libc.string cimport strlen

from fastgear.base.buffer cimport buffer_append_blob, buffer_commit, buffer_reserve
from fastgear.base.copy cimport copy_bytes
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.protocol.packet cimport HEADER_SIZE, PacketType


cdef inline uint8_t* write_bytes(uint8_t* to, const void* bytes, size_t length) noexcept nogil:
    copy_bytes(to, bytes, length)
    return to + length


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
