# SPDX-License-Identifier: MIT
"""The wire's packets: types, facts and the view that a parsed packet is. Knows bytes only: no sockets, no jobs."""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stddef cimport size_t
from libc.string cimport memcpy

from fastgear.base.blob cimport blob_t

cdef extern from *:
    uint32_t big_endian "__builtin_bswap32"(uint32_t) noexcept nogil  # to and from it, on little-endian machines as Linux runs on

cdef enum:
    HEADER_SIZE = 12        # magic, type and size, four bytes each, big-endian
    MAX_ARGUMENTS = 8       # more than any packet type has
    PACKET_TYPES = 43       # numbers 0 (text, never on the wire) to 42

cdef enum:
    MAGIC_REQUEST = 0x00524551   # \0REQ, big-endian
    MAGIC_RESPONSE = 0x00524553  # \0RES

cdef enum:                  # what packet_read and packet_read_head say beside FG_OK and FG_NEED_MORE
    PACKET_BAD_MAGIC = -11  # framing is lost
    PACKET_BAD_TYPE = -12   # no such type; length is known, so the packet can be skipped
    PACKET_BAD_ARGUMENTS = -13  # an argument lacks its NUL; length is known likewise

cdef enum:                  # who may send a packet; a set of bits
    FROM_CLIENT = 1
    FROM_WORKER = 2
    FROM_SERVER = 4

cpdef enum PacketType:
    TEXT = 0
    CAN_DO = 1
    CANT_DO = 2
    RESET_ABILITIES = 3
    PRE_SLEEP = 4
    UNUSED = 5
    NOOP = 6
    SUBMIT_JOB = 7
    JOB_CREATED = 8
    GRAB_JOB = 9
    NO_JOB = 10
    JOB_ASSIGN = 11
    WORK_STATUS = 12
    WORK_COMPLETE = 13
    WORK_FAIL = 14
    GET_STATUS = 15
    ECHO_REQ = 16
    ECHO_RES = 17
    SUBMIT_JOB_BG = 18
    ERROR = 19
    STATUS_RES = 20
    SUBMIT_JOB_HIGH = 21
    SET_CLIENT_ID = 22
    CAN_DO_TIMEOUT = 23
    ALL_YOURS = 24
    WORK_EXCEPTION = 25
    OPTION_REQ = 26
    OPTION_RES = 27
    WORK_DATA = 28
    WORK_WARNING = 29
    GRAB_JOB_UNIQ = 30
    JOB_ASSIGN_UNIQ = 31
    SUBMIT_JOB_HIGH_BG = 32
    SUBMIT_JOB_LOW = 33
    SUBMIT_JOB_LOW_BG = 34
    SUBMIT_JOB_SCHED = 35
    SUBMIT_JOB_EPOCH = 36
    SUBMIT_REDUCE_JOB = 37
    SUBMIT_REDUCE_JOB_BACKGROUND = 38
    GRAB_JOB_ALL = 39
    JOB_ASSIGN_ALL = 40
    GET_STATUS_UNIQUE = 41
    STATUS_RES_UNIQUE = 42

ctypedef struct slice_t:
    const uint8_t* bytes    # borrowed
    size_t length

ctypedef struct packet_fact_t:
    uint8_t arguments       # how many, the data not counted
    uint8_t has_data        # whether opaque data follow the arguments
    uint8_t senders         # FROM_... bits

# A view into somebody else's bytes: valid until that buffer next moves. Who keeps anything of it copies it.
ctypedef struct packet_t:
    int type                # PacketType
    bint is_request         # magic \0REQ (else \0RES)
    bint has_data           # data follow the arguments, though there may be no bytes of them
    uint32_t arguments      # how many of args are filled
    slice_t args[MAX_ARGUMENTS]  # the arguments, without their NULs
    slice_t data            # the data as far as they are here
    size_t data_length      # the data as announced
    blob_t* blob            # set by who received the data into a blob of their own, else NULL
    size_t length           # the whole packet, header included; 0 when the header is not all here

cdef const packet_fact_t* packet_fact(int type) noexcept nogil

# How long the packet is, header included, whose header is all here.
cdef inline size_t packet_size(const uint8_t* bytes) noexcept nogil:
    cdef uint32_t body
    memcpy(&body, bytes + 8, sizeof(body))
    return HEADER_SIZE + <size_t>big_endian(body)

# FG_OK: the packet is all here. FG_NEED_MORE: it is not; packet.length says how long it will be. Otherwise PACKET_BAD_...
cdef int packet_read(const uint8_t* bytes, size_t available, packet_t* packet) noexcept nogil

# The same, but content with header and arguments: the data may be under way.
cdef int packet_read_head(const uint8_t* bytes, size_t available, packet_t* packet) noexcept nogil
