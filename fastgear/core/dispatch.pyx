# SPDX-License-Identifier: MIT
"""One flat switch over the packet types, and the few requests that clients and workers share."""

from libc.string cimport memcpy

from fastgear.base.alloc cimport fg_free, fg_malloc
from fastgear.core.client_requests cimport (
    on_get_status, on_get_status_unique, on_submit_job, on_submit_job_epoch, on_submit_job_sched,
    on_submit_reduce_job,
)
from fastgear.core.model cimport HIGH, LOW, MAX_CLIENT_ID, NORMAL
from fastgear.core.peers cimport send_data, send_error, send_parts
from fastgear.core.worker_requests cimport (
    on_can_do, on_can_do_timeout, on_cant_do, on_grab_job, on_pre_sleep, on_reset_abilities, on_work_complete,
    on_work_data, on_work_exception, on_work_fail, on_work_status,
)
from fastgear.protocol.packet cimport PacketType, slice_t
from fastgear.protocol.text cimport word_is


cdef void dispatch(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    cdef int type = packet.type
    state.counters.packets += 1
    if not packet.is_request:
        send_error(state, peer, "INVALID_MAGIC", "Request magic expected")
        return
    if type == PacketType.SUBMIT_JOB:
        on_submit_job(state, peer, packet, NORMAL, False)
    elif type == PacketType.SUBMIT_JOB_BG:
        on_submit_job(state, peer, packet, NORMAL, True)
    elif type == PacketType.SUBMIT_JOB_HIGH:
        on_submit_job(state, peer, packet, HIGH, False)
    elif type == PacketType.SUBMIT_JOB_HIGH_BG:
        on_submit_job(state, peer, packet, HIGH, True)
    elif type == PacketType.SUBMIT_JOB_LOW:
        on_submit_job(state, peer, packet, LOW, False)
    elif type == PacketType.SUBMIT_JOB_LOW_BG:
        on_submit_job(state, peer, packet, LOW, True)
    elif type == PacketType.SUBMIT_JOB_EPOCH:
        on_submit_job_epoch(state, peer, packet)
    elif type == PacketType.SUBMIT_JOB_SCHED:
        on_submit_job_sched(state, peer, packet)
    elif type == PacketType.SUBMIT_REDUCE_JOB:
        on_submit_reduce_job(state, peer, packet, False)
    elif type == PacketType.SUBMIT_REDUCE_JOB_BACKGROUND:
        on_submit_reduce_job(state, peer, packet, True)
    elif type == PacketType.GRAB_JOB or type == PacketType.GRAB_JOB_UNIQ or type == PacketType.GRAB_JOB_ALL:
        on_grab_job(state, peer, type)
    elif type == PacketType.WORK_COMPLETE:
        on_work_complete(state, peer, packet)
    elif type == PacketType.WORK_DATA or type == PacketType.WORK_WARNING:
        on_work_data(state, peer, packet)
    elif type == PacketType.WORK_STATUS:
        on_work_status(state, peer, packet)
    elif type == PacketType.WORK_FAIL:
        on_work_fail(state, peer, packet)
    elif type == PacketType.WORK_EXCEPTION:
        on_work_exception(state, peer, packet)
    elif type == PacketType.PRE_SLEEP:
        on_pre_sleep(state, peer)
    elif type == PacketType.CAN_DO:
        on_can_do(state, peer, packet)
    elif type == PacketType.CAN_DO_TIMEOUT:
        on_can_do_timeout(state, peer, packet)
    elif type == PacketType.CANT_DO:
        on_cant_do(state, peer, packet)
    elif type == PacketType.RESET_ABILITIES:
        on_reset_abilities(state, peer)
    elif type == PacketType.GET_STATUS:
        on_get_status(state, peer, packet)
    elif type == PacketType.GET_STATUS_UNIQUE:
        on_get_status_unique(state, peer, packet)
    elif type == PacketType.ECHO_REQ:
        on_echo(state, peer, packet)
    elif type == PacketType.OPTION_REQ:
        on_option(state, peer, packet)
    elif type == PacketType.SET_CLIENT_ID:
        on_set_client_id(state, peer, packet)
    elif type == PacketType.ALL_YOURS:
        pass  # a hint without an answer; grabs are answered at once anyway
    else:
        send_error(state, peer, "INVALID_COMMAND", "Command not expected")


cdef void on_echo(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    cdef slice_t part
    send_data(state, peer, PacketType.ECHO_RES, &part, 0, packet.data, packet.blob)


cdef void on_option(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    """exceptions is gearmand's; fastgear/wait lets grabs wait for a job, instead of NO_JOB, PRE_SLEEP and NOOP."""
    if word_is(packet.args[0], "exceptions"):
        peer.exceptions = True
    elif word_is(packet.args[0], "fastgear/wait"):
        peer.parks = True
    else:
        send_error(state, peer, "UNKNOWN_OPTION", "Server does not recognize given option")
        return
    send_parts(state, peer, PacketType.OPTION_RES, packet.args, 1)


cdef void on_set_client_id(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    cdef slice_t id = packet.args[0]
    cdef void* copy
    if id.length > MAX_CLIENT_ID:
        send_error(state, peer, "ARGUMENT_TOO_LARGE", "Client id too large")
        return
    copy = fg_malloc(id.length + 1)
    if copy == NULL:
        send_error(state, peer, "MEMORY_ALLOCATION_FAILURE", "The server is out of memory")
        return
    memcpy(copy, id.bytes, id.length)
    fg_free(peer.client_id)
    peer.client_id = <unsigned char*>copy
    peer.client_id_length = id.length
