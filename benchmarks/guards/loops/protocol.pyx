# SPDX-License-Identifier: MIT
"""Parser and encoder."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from fastgear.base.buffer cimport buffer_consume, buffer_free, buffer_init, buffer_length, buffer_t
from fastgear.base.digits cimport MAX_DIGITS, digits_write
from fastgear.base.status cimport FG_OK
from fastgear.protocol.encoder cimport encode_empty, encode_packet, slice_of
from fastgear.protocol.packet cimport PacketType, packet_read, packet_t, slice_t
from loops.loop cimport Loop


cdef class Parser(Loop):
    """Packets one after the other; once through, and from the beginning."""

    cdef bytes packets
    cdef const uint8_t* at
    cdef size_t length

    def __cinit__(self, bytes packets not None):
        self.packets = packets
        self.at = <const uint8_t*>PyBytes_AS_STRING(packets)
        self.length = len(packets)

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef packet_t packet
        cdef uint64_t found = 0
        cdef size_t at = 0
        for _ in range(count):
            if packet_read(self.at + at, self.length - at, &packet) != FG_OK:
                return 0
            found += packet.type + packet.arguments + packet.args[0].length + packet.data_length
            at += packet.length
            if at == self.length:
                at = 0
        return found


cdef class Encoder(Loop):
    """The responses that a server gives most, into a buffer that is emptied again."""

    cdef buffer_t out

    def __cinit__(self):
        buffer_init(&self.out, NULL)

    def __dealloc__(self):
        buffer_free(&self.out)

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t i, found = 0
        for i in range(count):
            if self.one(i) != FG_OK:
                return 0
            if i & 127 == 127:
                found += buffer_length(&self.out)
                buffer_consume(&self.out, buffer_length(&self.out))
        found += buffer_length(&self.out)
        buffer_consume(&self.out, buffer_length(&self.out))
        return found

    cdef int one(self, uint64_t i) noexcept nogil:
        cdef slice_t parts[3]
        cdef uint8_t digits[MAX_DIGITS]
        cdef uint64_t kind = i & 3
        parts[0] = slice_of(b"H:guard:1000000000", 18)
        if kind == 0:
            return encode_packet(&self.out, False, PacketType.JOB_CREATED, parts, 1)
        if kind == 1:
            parts[1] = slice_of(b"reverse", 7)
            parts[2] = slice_of(b"0123456789abcdef", 16)
            return encode_packet(&self.out, False, PacketType.JOB_ASSIGN, parts, 3)
        if kind == 2:
            parts[1] = slice_of(digits, digits_write(digits, 1000000000 + i))
            parts[2] = slice_of(b"100", 3)
            return encode_packet(&self.out, False, PacketType.WORK_STATUS, parts, 3)
        return encode_empty(&self.out, PacketType.NO_JOB)
