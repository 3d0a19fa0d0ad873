# SPDX-License-Identifier: MIT
"""Grabs under way, sleep, and results. All that is said goes to connection.out."""

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp

from fastgear.base.alloc cimport fg_malloc
from fastgear.base.blob cimport blob_t
from fastgear.base.buffer cimport buffer_append
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.bench.fault cimport load_fail, load_fail_text
from fastgear.bench.handles cimport HANDLE_TWICE, SEEN_ASSIGNED, handles_saw
from fastgear.bench.histogram cimport histogram_add
from fastgear.bench.model cimport (
    LOAD_TWICE, LOAD_WRONG_BYTES, LOAD_WRONG_LENGTH, LOAD_WRONG_PACKET, connection_t, load_t,
)
from fastgear.protocol.encoder cimport encode_packet, encode_packet_blob, slice_of
from fastgear.protocol.packet cimport HEADER_SIZE, PacketType, packet_t, slice_t

cdef enum:
    INLINE = 2048               # bytes of a result that are copied rather than held


cdef int worker_init(load_t* load, connection_t* connection, bint is_sleeper) noexcept nogil:
    connection.is_sleeper = is_sleeper
    connection.asked_ns = <int64_t*>fg_malloc(load.grabs * sizeof(int64_t))
    return FG_OK if connection.asked_ns != NULL else FG_ENOMEM


cdef int say(load_t* load, connection_t* connection, int type) noexcept nogil:
    if encode_packet(&connection.out, True, type, NULL, 0) != FG_OK:
        return load_fail(load, FG_ENOMEM, NULL, 0, 0)
    return FG_OK


cdef int worker_can_do(load_t* load, connection_t* connection, size_t function) noexcept nogil:
    if encode_packet(&connection.out, True, PacketType.CAN_DO, &load.functions[function], 1) != FG_OK:
        return load_fail(load, FG_ENOMEM, NULL, 0, 0)
    return FG_OK


cdef int worker_begin(load_t* load, connection_t* connection) noexcept nogil:
    return say(load, connection, PacketType.PRE_SLEEP) if connection.is_sleeper else grab(load, connection)


cdef int grab_one(load_t* load, connection_t* connection) noexcept nogil:
    connection.asked_ns[(connection.answered + connection.asked) % load.grabs] = load.now_ns
    connection.asked += 1
    if buffer_append(&connection.out, load.grab, HEADER_SIZE) != FG_OK:
        return load_fail(load, FG_ENOMEM, NULL, 0, 0)
    return FG_OK


cdef int grab(load_t* load, connection_t* connection) noexcept nogil:
    cdef uint32_t most = 1 if connection.is_sleeper else load.grabs
    cdef int status = FG_OK
    if load.sweeping:
        return FG_OK if connection.asked > 0 else say(load, connection, PacketType.PRE_SLEEP)
    while status == FG_OK and connection.asked < most:
        status = grab_one(load, connection)
    return status


# -- the sweep: once all jobs are acknowledged, each worker asks once more than it has asked already -------------------

cdef int worker_sweep(load_t* load, connection_t* connection) noexcept nogil:
    """With all its grabs under way, it asks when one is answered."""
    cdef uint32_t most = load.grabs
    connection.sweeping = connection.asked + 1
    return grab_one(load, connection) if connection.asked < most else FG_OK


cdef int sweep_on(load_t* load, connection_t* connection, bint got_job) noexcept nogil:
    """An answer came. The last one has to be that there is no job."""
    cdef int status = FG_OK
    if connection.sweeping == 0:
        return FG_OK
    connection.sweeping -= 1
    if connection.sweeping == 0 and not got_job:
        load.unswept -= 1
        return FG_OK
    if connection.sweeping == 0:
        connection.sweeping = 1
    if connection.asked < connection.sweeping:
        status = grab_one(load, connection)
    return status


# -- what the server says ---------------------------------------------------------------------------------------------

cdef int worker_on_packet(load_t* load, connection_t* connection, const packet_t* packet) noexcept nogil:
    if packet.type == PacketType.JOB_ASSIGN:
        return on_assign(load, connection, packet)
    if packet.type == PacketType.NO_JOB:
        return on_no_job(load, connection, packet)
    if packet.type == PacketType.NOOP:
        load.counts.wakeups += 1
        return grab(load, connection)
    return load_fail(load, LOAD_WRONG_PACKET, packet, 0, 0)


cdef int answered(load_t* load, connection_t* connection, const packet_t* packet, bint got_job) noexcept nogil:
    """One grab. Its place in the ring is free for another."""
    if connection.asked == 0:
        return load_fail(load, LOAD_WRONG_PACKET, packet, 0, 0)
    if load.taking and got_job:
        histogram_add(load.latencies, load.now_ns - connection.asked_ns[connection.answered % load.grabs])
    connection.answered = (connection.answered + 1) % load.grabs
    connection.asked -= 1
    return FG_OK


cdef int on_no_job(load_t* load, connection_t* connection, const packet_t* packet) noexcept nogil:
    cdef int status = answered(load, connection, packet, False)
    load.counts.no_jobs += 1
    if status == FG_OK:
        status = sweep_on(load, connection, False)
    if status == FG_OK and connection.asked == 0:
        status = say(load, connection, PacketType.PRE_SLEEP)
    return status


cdef int on_assign(load_t* load, connection_t* connection, const packet_t* packet) noexcept nogil:
    cdef int status = answered(load, connection, packet, True)
    if status == FG_OK:
        status = check_job(load, packet)
    if status != FG_OK:
        return status
    load.counts.assigned += 1
    load.last_ns = load.now_ns
    if load.counts.assigned > (load.limit if load.taking else load.counts.jobs):
        return load_fail(load, LOAD_TWICE, packet, load.counts.assigned, load.counts.jobs)
    status = complete(load, connection, packet.args[0])
    if status == FG_OK:
        status = sweep_on(load, connection, True)
    return grab(load, connection) if status == FG_OK and not load.sweeping else status


cdef int check_job(load_t* load, const packet_t* packet) noexcept nogil:
    cdef size_t length = packet.data.length if packet.data.length < 8 else 8
    cdef int status
    if packet.data_length != load.payload.length:
        return load_fail(load, LOAD_WRONG_LENGTH, packet, packet.data_length, load.payload.length)
    if length > 0 and memcmp(packet.data.bytes, load.payload.bytes, length) != 0:
        return load_fail(load, LOAD_WRONG_BYTES, packet, 0, 0)
    if load.handles == NULL:
        return FG_OK
    status = handles_saw(load.handles, packet.args[0], SEEN_ASSIGNED)
    if status == HANDLE_TWICE:
        return load_fail_text(load, LOAD_TWICE, packet.args[0], slice_of(NULL, 0))
    return load_fail(load, status, NULL, 0, 0) if status != FG_OK else FG_OK


cdef int complete(load_t* load, connection_t* connection, slice_t handle) noexcept nogil:
    cdef blob_t* result = load.result
    cdef slice_t parts[2]
    cdef int status
    parts[0] = handle
    parts[1] = slice_of(result.bytes, result.length)
    if result.length > INLINE:
        status = encode_packet_blob(
            &connection.out, True, PacketType.WORK_COMPLETE, parts, 1, result, 0, result.length
        )
    else:
        status = encode_packet(&connection.out, True, PacketType.WORK_COMPLETE, parts, 2)
    return FG_OK if status == FG_OK else load_fail(load, FG_ENOMEM, NULL, 0, 0)
