# SPDX-License-Identifier: MIT
"""Reading and writing one socket. Edge-triggered: a read that is not full has taken what there was."""

from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy, memset
from posix.uio cimport iovec

from fastgear.base.alloc cimport fg_free, fg_realloc
from fastgear.base.buffer cimport (
    buffer_consume, buffer_free, buffer_gather, buffer_init, buffer_length, buffer_reserve, buffer_rewind,
)
from fastgear.base.status cimport FG_ENOMEM, FG_NEED_MORE, FG_OK
from fastgear.bench.client cimport client_on_packet, client_on_refusal
from fastgear.bench.fault cimport load_fail, load_fail_text
from fastgear.bench.model cimport LOAD_CLOSED, LOAD_ERROR, LOAD_NO_PACKET, LOAD_SYSTEM, ROLE_CLIENT
from fastgear.bench.sys cimport (
    EAGAIN, EINTR, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLET, EPOLLIN, EPOLLOUT, MSG_NOSIGNAL, clock_ns, epoll_ctl,
    epoll_event, errno, msghdr, recv, send, sendmsg,
)
from fastgear.bench.worker cimport worker_on_packet
from fastgear.protocol.encoder cimport encode_packet, slice_of
from fastgear.protocol.packet cimport PacketType, packet_read, packet_read_head, packet_t, slice_t

cdef enum:
    MAX_PIECES = 64             # of one sendmsg
    PACKET = 128                # bytes of a packet beside its data, or of two
    MOST_USUAL = 1 << 13
    LARGE = 1 << 14             # a packet whose data are not kept until its end is here

cdef const char* SETTLING = b"fastgear bench"
cdef enum:
    SETTLING_LENGTH = 14

cdef const char* FULL = b"QUEUE_ERROR"
cdef enum:
    FULL_LENGTH = 11


cdef int connection_open(load_t* load, connection_t* connection, int fd, int role) noexcept nogil:
    connection.fd = fd
    connection.role = role
    buffer_init(&connection.out, NULL)
    if buffer_reserve(&connection.out, usual_output(load, role)) == NULL:
        return load_fail(load, FG_ENOMEM, NULL, 0, 0)
    return watch(load, connection, EPOLL_CTL_ADD, False)


cdef size_t usual_output(const load_t* load, int role) noexcept nogil:
    """Bytes of a turn, so that they find room in one piece, which is kept."""
    cdef size_t packets = load.pipeline if role == ROLE_CLIENT else load.grabs
    cdef size_t each = PACKET + (load.payload.length if role == ROLE_CLIENT else load.result.length)
    return packets * each if packets * each < MOST_USUAL else MOST_USUAL


cdef int watch(load_t* load, connection_t* connection, int operation, bint blocked) noexcept nogil:
    cdef epoll_event event
    event.events = EPOLLIN | EPOLLET | (EPOLLOUT if blocked else 0)
    event.data.ptr = connection
    connection.blocked = blocked
    if epoll_ctl(load.epoll_fd, operation, connection.fd, &event) != 0:
        return load_fail(load, LOAD_SYSTEM, NULL, errno, 0)
    return FG_OK


cdef void connection_close(connection_t* connection) noexcept nogil:
    buffer_free(&connection.out)
    fg_free(connection.kept)
    fg_free(connection.slots)
    fg_free(connection.unacknowledged)
    fg_free(connection.buckets)
    fg_free(connection.asked_ns)


# -- in ---------------------------------------------------------------------------------------------------------------

cdef int connection_read(load_t* load, connection_t* connection) noexcept nogil:
    cdef size_t kept
    cdef ssize_t got
    cdef int status
    while True:
        kept = connection.kept_length if connection.skip == 0 else 0
        got = recv(connection.fd, load.scratch + kept, SCRATCH - kept, 0)
        if got <= 0:
            if got < 0 and errno == EAGAIN:
                return FG_OK
            if got < 0 and errno == EINTR:
                continue
            return load_fail(load, LOAD_CLOSED, NULL, errno if got < 0 else 0, 0)
        load.now_ns = clock_ns()
        if kept > 0:
            memcpy(load.scratch, connection.kept, kept)
            connection.kept_length = 0
        status = take_bytes(load, connection, load.scratch, kept + got)
        if status != FG_OK or <size_t>got < SCRATCH - kept:
            return status


cdef int take_bytes(load_t* load, connection_t* connection, const uint8_t* at, size_t length) noexcept nogil:
    cdef packet_t packet
    cdef int status
    cdef size_t step
    if connection.skip > 0:
        step = connection.skip if connection.skip < length else length
        connection.skip -= step
        at += step
        length -= step
        if connection.skip > 0:
            return FG_OK
        packet_read_head(connection.kept, connection.kept_length, &packet)
        connection.kept_length = 0
        status = on_packet(load, connection, &packet)
        if status != FG_OK:
            return status
    while length > 0:
        status = packet_read(at, length, &packet)
        if status == FG_NEED_MORE:
            return keep(load, connection, at, length)
        if status != FG_OK or packet.is_request:
            return load_fail(load, LOAD_NO_PACKET, NULL, 0, 0)
        status = on_packet(load, connection, &packet)
        if status != FG_OK:
            return status
        at += packet.length
        length -= packet.length
    return FG_OK


cdef int keep(load_t* load, connection_t* connection, const uint8_t* at, size_t length) noexcept nogil:
    """The beginning of a packet: all that is here, or of a large one the arguments only."""
    cdef packet_t packet
    cdef int status = packet_read_head(at, length, &packet)
    cdef uint8_t* memory
    if status == FG_OK and packet.length > LARGE:
        connection.skip = packet.length - length
        length = packet.data.bytes - at + (8 if packet.data.length >= 8 else packet.data.length)
    elif length >= SCRATCH // 2:
        return load_fail(load, LOAD_NO_PACKET, NULL, 0, 0)
    if length > connection.kept_capacity:
        memory = <uint8_t*>fg_realloc(connection.kept, length)
        if memory == NULL:
            return load_fail(load, FG_ENOMEM, NULL, 0, 0)
        connection.kept = memory
        connection.kept_capacity = length
    memcpy(connection.kept, at, length)
    connection.kept_length = length
    return FG_OK


cdef int on_packet(load_t* load, connection_t* connection, const packet_t* packet) noexcept nogil:
    if packet.type == PacketType.ERROR:
        if load.refusable and connection.role == ROLE_CLIENT and is_refusal(packet):
            return client_on_refusal(load, connection, packet)
        return load_fail_text(load, LOAD_ERROR, packet.args[0], packet.args[1])
    if packet.type == PacketType.ECHO_RES and connection.unsettled > 0:
        connection.unsettled -= 1
        load.unsettled -= 1
        return FG_OK
    if connection.role == ROLE_CLIENT:
        return client_on_packet(load, connection, packet)
    return worker_on_packet(load, connection, packet)


cdef inline bint is_refusal(const packet_t* packet) noexcept nogil:
    return packet.args[0].length == FULL_LENGTH and memcmp(packet.args[0].bytes, FULL, FULL_LENGTH) == 0


# -- out --------------------------------------------------------------------------------------------------------------

cdef int connection_write(load_t* load, connection_t* connection) noexcept nogil:
    cdef iovec pieces[MAX_PIECES]
    cdef msghdr message
    cdef ssize_t done
    cdef int count
    while buffer_length(&connection.out) > 0:
        count = buffer_gather(&connection.out, pieces, MAX_PIECES)
        if count == 1:
            done = send(connection.fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL)
        else:
            memset(&message, 0, sizeof(message))
            message.msg_iov = pieces
            message.msg_iovlen = count
            done = sendmsg(connection.fd, &message, MSG_NOSIGNAL)
        if done == <ssize_t>buffer_length(&connection.out):
            buffer_rewind(&connection.out)
        elif done >= 0:
            buffer_consume(&connection.out, done)
        elif errno == EAGAIN:
            return FG_OK if connection.blocked else watch(load, connection, EPOLL_CTL_MOD, True)
        elif errno != EINTR:
            return load_fail(load, LOAD_CLOSED, NULL, errno, 0)
    return watch(load, connection, EPOLL_CTL_MOD, False) if connection.blocked else FG_OK


cdef void connection_mark(load_t* load, connection_t* connection) noexcept nogil:
    if not connection.dirty:
        connection.dirty = True
        connection.next_dirty = load.dirty
        load.dirty = connection


cdef int write_dirty(load_t* load) noexcept nogil:
    cdef connection_t* connection
    cdef int status
    while load.dirty != NULL:
        connection = load.dirty
        load.dirty = connection.next_dirty
        connection.dirty = False
        status = connection_write(load, connection)
        if status != FG_OK:
            return status
    return FG_OK


cdef int connection_settle(load_t* load, connection_t* connection) noexcept nogil:
    cdef slice_t data = slice_of(SETTLING, SETTLING_LENGTH)
    if encode_packet(&connection.out, True, PacketType.ECHO_REQ, &data, 1) != FG_OK:
        return load_fail(load, FG_ENOMEM, NULL, 0, 0)
    connection.unsettled += 1
    load.unsettled += 1
    return connection_write(load, connection)
