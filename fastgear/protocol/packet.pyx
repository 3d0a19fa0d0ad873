# SPDX-License-Identifier: MIT
"""The table of packet facts, and the parser that is fed by it.

``PACKETS`` below is the one place where a packet type is described; parser, encoder, documentation and tests read it.
The parser looks at one packet at a time and never beyond its announced size. It knows no sockets, no roles, no jobs.
Source of the facts: the file PROTOCOL of gearman/gearmand, and for the reduce packets the wire as libgearman speaks it
(four arguments; the document names three).
"""

from typing import NamedTuple

from libc.string cimport memchr, memcpy, memset

from fastgear.base.status cimport FG_NEED_MORE, FG_OK


class PacketFacts(NamedTuple):
    """What the protocol says of one packet type: `args` are its arguments in order, the data not among them."""

    name: str
    number: int
    args: tuple[str, ...]
    has_data: bool
    senders: frozenset[str]


def _facts(name: str, number: int, senders: str, args: str = "", data: bool = False) -> PacketFacts:
    return PacketFacts(name, number, tuple(args.split()), data, frozenset(senders.split()))


PACKETS = (
    _facts("CAN_DO", 1, "worker", "function"),
    _facts("CANT_DO", 2, "worker", "function"),
    _facts("RESET_ABILITIES", 3, "worker"),
    _facts("PRE_SLEEP", 4, "worker"),
    _facts("UNUSED", 5, ""),
    _facts("NOOP", 6, "server"),
    _facts("SUBMIT_JOB", 7, "client", "function unique", data=True),
    _facts("JOB_CREATED", 8, "server", "handle"),
    _facts("GRAB_JOB", 9, "worker"),
    _facts("NO_JOB", 10, "server"),
    _facts("JOB_ASSIGN", 11, "server", "handle function", data=True),
    _facts("WORK_STATUS", 12, "worker server", "handle numerator denominator"),
    _facts("WORK_COMPLETE", 13, "worker server", "handle", data=True),
    _facts("WORK_FAIL", 14, "worker server", "handle"),
    _facts("GET_STATUS", 15, "client", "handle"),
    _facts("ECHO_REQ", 16, "client worker", data=True),
    _facts("ECHO_RES", 17, "server", data=True),
    _facts("SUBMIT_JOB_BG", 18, "client", "function unique", data=True),
    _facts("ERROR", 19, "server", "code text"),
    _facts("STATUS_RES", 20, "server", "handle known running numerator denominator"),
    _facts("SUBMIT_JOB_HIGH", 21, "client", "function unique", data=True),
    _facts("SET_CLIENT_ID", 22, "client worker", "client_id"),
    _facts("CAN_DO_TIMEOUT", 23, "worker", "function timeout_ms"),
    _facts("ALL_YOURS", 24, "worker"),
    _facts("WORK_EXCEPTION", 25, "worker server", "handle", data=True),
    _facts("OPTION_REQ", 26, "client worker", "option"),
    _facts("OPTION_RES", 27, "server", "option"),
    _facts("WORK_DATA", 28, "worker server", "handle", data=True),
    _facts("WORK_WARNING", 29, "worker server", "handle", data=True),
    _facts("GRAB_JOB_UNIQ", 30, "worker"),
    _facts("JOB_ASSIGN_UNIQ", 31, "server", "handle function unique", data=True),
    _facts("SUBMIT_JOB_HIGH_BG", 32, "client", "function unique", data=True),
    _facts("SUBMIT_JOB_LOW", 33, "client", "function unique", data=True),
    _facts("SUBMIT_JOB_LOW_BG", 34, "client", "function unique", data=True),
    _facts("SUBMIT_JOB_SCHED", 35, "client", "function unique minute hour day month weekday", data=True),
    _facts("SUBMIT_JOB_EPOCH", 36, "client", "function unique epoch", data=True),
    _facts("SUBMIT_REDUCE_JOB", 37, "client", "function unique reducer aggregator", data=True),
    _facts("SUBMIT_REDUCE_JOB_BACKGROUND", 38, "client", "function unique reducer aggregator", data=True),
    _facts("GRAB_JOB_ALL", 39, "worker"),
    _facts("JOB_ASSIGN_ALL", 40, "server", "handle function unique reducer", data=True),
    _facts("GET_STATUS_UNIQUE", 41, "client", "unique"),
    _facts("STATUS_RES_UNIQUE", 42, "server", "unique known running numerator denominator waiting_clients"),
)

cdef packet_fact_t FACTS[PACKET_TYPES]

_SENDER_BITS = {"client": FROM_CLIENT, "worker": FROM_WORKER, "server": FROM_SERVER}


def _fill_facts():
    memset(FACTS, 0, sizeof(FACTS))
    for facts in PACKETS:
        FACTS[<int>facts.number].arguments = len(facts.args)
        FACTS[<int>facts.number].has_data = facts.has_data
        FACTS[<int>facts.number].senders = sum(_SENDER_BITS[sender] for sender in facts.senders)


_fill_facts()


cdef const packet_fact_t* packet_fact(int type) noexcept nogil:
    return &FACTS[type]


cdef inline uint32_t read_u32(const uint8_t* at) noexcept nogil:
    cdef uint32_t number
    memcpy(&number, at, sizeof(number))
    return big_endian(number)


cdef inline int read_header(const uint8_t* bytes, size_t available, packet_t* packet) noexcept nogil:
    cdef uint32_t magic, type
    packet.length = 0
    packet.blob = NULL
    if available < HEADER_SIZE:
        return FG_NEED_MORE if available == 0 or bytes[0] == 0 else PACKET_BAD_MAGIC
    magic = read_u32(bytes)
    if magic != MAGIC_REQUEST and magic != MAGIC_RESPONSE:
        return PACKET_BAD_MAGIC
    type = read_u32(bytes + 4)
    packet.is_request = magic == MAGIC_REQUEST
    packet.length = packet_size(bytes)
    packet.type = <int>type if type < PACKET_TYPES else -1
    return PACKET_BAD_TYPE if type == 0 or type >= PACKET_TYPES else FG_OK


cdef inline int split_arguments(const uint8_t* at, const uint8_t* end, bint all_here, packet_t* packet) noexcept nogil:
    """Cut the body into its arguments. The last one, when no data follow it, reaches to the end of the packet.

    A worker's report may be nothing but a handle, without the NUL: so Perl's Gearman::Worker sends an empty result.
    """
    cdef packet_fact_t fact = FACTS[packet.type]
    cdef const uint8_t* nul
    cdef uint32_t i, terminated = fact.arguments
    packet.arguments = fact.arguments
    packet.has_data = fact.has_data
    if not fact.has_data and terminated > 0:
        terminated -= 1
    for i in range(terminated):
        nul = <const uint8_t*>memchr(at, 0, end - at) if at < end else NULL
        if nul == NULL and all_here and fact.has_data and fact.arguments == 1:
            nul = end
        if nul == NULL:
            return PACKET_BAD_ARGUMENTS if all_here else FG_NEED_MORE
        packet.args[i].bytes = at
        packet.args[i].length = nul - at
        at = nul + 1 if nul < end else end
    packet.data.bytes = at
    packet.data.length = end - at
    if fact.has_data:
        return FG_OK
    if fact.arguments > terminated:
        packet.args[terminated] = packet.data
    packet.data.length = 0
    return FG_OK if all_here else FG_NEED_MORE


cdef int packet_read_head(const uint8_t* bytes, size_t available, packet_t* packet) noexcept nogil:
    cdef int status = read_header(bytes, available, packet)
    if status != FG_OK:
        return status
    if available > packet.length:
        available = packet.length
    status = split_arguments(bytes + HEADER_SIZE, bytes + available, available == packet.length, packet)
    packet.data_length = 0
    if status == FG_OK and FACTS[packet.type].has_data:
        packet.data_length = packet.length - (packet.data.bytes - bytes)
    return status


cdef int packet_read(const uint8_t* bytes, size_t available, packet_t* packet) noexcept nogil:
    cdef int status = read_header(bytes, available, packet)
    if status != FG_OK:
        return status
    if available < packet.length:
        return FG_NEED_MORE
    status = split_arguments(bytes + HEADER_SIZE, bytes + packet.length, True, packet)
    packet.data_length = packet.data.length if status == FG_OK else 0
    return status
