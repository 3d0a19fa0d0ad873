# SPDX-License-Identifier: MIT
"""The Python door of the wire: packets as objects, for client, worker and tests. No sockets here either."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcpy

from fastgear.base.status cimport FG_NEED_MORE, FG_OK
from fastgear.protocol.encoder cimport encode_header
from fastgear.protocol.packet cimport (
    HEADER_SIZE, PACKET_BAD_ARGUMENTS, PACKET_BAD_MAGIC, PACKET_TYPES, packet_fact, packet_fact_t, packet_read, packet_t,
)

from fastgear.errors import LocalProtocolError, RemoteProtocolError
from fastgear.protocol.packet import PACKETS, PacketType

__all__ = ["PACKETS", "Packet", "PacketReader", "PacketType", "pack_request", "pack_response"]

# By number, so that no packet pays for a look-up in the enumeration.
cdef list TYPES = [PacketType(number) for number in range(PACKET_TYPES)]


cdef class Packet:
    cdef readonly object type
    cdef readonly bint is_request
    cdef readonly tuple args

    def __repr__(self):
        return f"<Packet {self.type.name} {self.args!r}>"


cdef Packet packet_object(packet_t* packet):
    cdef Packet result = Packet.__new__(Packet)
    cdef uint32_t i
    cdef list args = [packet.args[i].bytes[:packet.args[i].length] for i in range(packet.arguments)]
    if packet_fact(packet.type).has_data:
        args.append(packet.data.bytes[:packet.data.length])
    result.type = TYPES[packet.type]
    result.is_request = packet.is_request
    result.args = tuple(args)
    return result


cdef str complaint(int status, packet_t* packet):
    if status == PACKET_BAD_MAGIC:
        return "the peer does not speak Gearman: a packet without its magic came"
    if status == PACKET_BAD_ARGUMENTS:
        return f"the peer sent {TYPES[packet.type].name} with too few arguments"
    return "the peer sent a packet of unknown type"


cdef class PacketReader:
    cdef bytearray rest             # the beginning of a packet whose end has not come
    cdef size_t wanted              # its length as far as known; nothing is parsed before so many bytes are here
    cdef size_t max_packet_size

    def __init__(self, size_t max_packet_size=0xFFFFFFFF + HEADER_SIZE):
        self.rest = bytearray()
        self.wanted = 0
        self.max_packet_size = max_packet_size

    @property
    def pending(self):
        return len(self.rest)

    def feed(self, data not None):
        cdef const uint8_t[::1] view
        cdef list packets = []
        cdef size_t used
        if not self.rest:
            view = data
            if view.shape[0] > 0:
                used = self.cut(&view[0], view.shape[0], packets)
                self.rest += view[used:]
            return packets
        self.rest += data
        if <size_t>len(self.rest) >= self.wanted:
            view = self.rest
            used = self.cut(&view[0], view.shape[0], packets)
            view = None
            del self.rest[:used]
        return packets

    cdef size_t cut(self, const uint8_t* bytes, size_t length, list packets) except? 0:
        """Append what is complete to packets, and return how many bytes that was."""
        cdef packet_t packet
        cdef size_t used = 0
        cdef int status
        self.wanted = 0
        while used < length:
            status = packet_read(bytes + used, length - used, &packet)
            if packet.length > self.max_packet_size:
                raise RemoteProtocolError(f"the peer sent a packet of {packet.length} bytes; the limit is {self.max_packet_size}")
            if status == FG_NEED_MORE:
                self.wanted = packet.length
                break
            if status != FG_OK:
                raise RemoteProtocolError(complaint(status, &packet))
            packets.append(packet_object(&packet))
            used += packet.length
        return used


cdef bytes pack(bint is_request, int type, tuple args):
    cdef const packet_fact_t* fact
    cdef Py_ssize_t i, last = len(args) - 1
    cdef size_t size = last if last > 0 else 0
    cdef bytes part, result
    cdef char* to
    if type <= 0 or type >= PACKET_TYPES:
        raise LocalProtocolError(f"there is no packet type {type}")
    fact = packet_fact(type)
    if last + 1 != fact.arguments + fact.has_data:
        raise LocalProtocolError(f"{TYPES[type].name} takes {fact.arguments + fact.has_data} arguments, not {last + 1}")
    cdef list parts = [arg if isinstance(arg, bytes) else bytes(arg) for arg in args]
    for i in range(last + 1):
        part = parts[i]
        size += PyBytes_GET_SIZE(part)
        if i < last and memchr(PyBytes_AS_STRING(part), 0, PyBytes_GET_SIZE(part)) != NULL:
            raise LocalProtocolError(f"argument {i + 1} of {TYPES[type].name} has a NUL in it: {part[:40]!r}")
    if size > 0xFFFFFFFF:
        raise LocalProtocolError(f"{TYPES[type].name} of {size} bytes is more than a packet can carry (4 GiB)")
    result = PyBytes_FromStringAndSize(NULL, HEADER_SIZE + size)
    to = PyBytes_AS_STRING(result)
    encode_header(<uint8_t*>to, is_request, type, size)
    to += HEADER_SIZE
    for i in range(last + 1):
        part = parts[i]
        memcpy(to, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
        to += PyBytes_GET_SIZE(part)
        if i < last:
            to[0] = 0
            to += 1
    return result


def pack_request(int type, /, *args):
    return pack(True, type, args)


def pack_response(int type, /, *args):
    return pack(False, type, args)
