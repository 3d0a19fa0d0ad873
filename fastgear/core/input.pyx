# SPDX-License-Identifier: MIT
"""A peer's input: packets and text lines cut out of its bytes, large data collected into a blob, refused packets skipped.

Framing survives every packet whose size is known: what is wrong with it is answered with ERROR, and the next one is read.
Only a wrong magic, a text line that is endless or not text, or a half that is left at that, ends the connection, after its
answer has left.
"""

from libc.string cimport memchr, memcpy

from fastgear.base.alloc cimport fg_free, fg_malloc, fg_realloc
from fastgear.base.blob cimport blob_new, blob_release, blob_resize, blob_t, shelf_put, shelf_take
from fastgear.base.check cimport fg_check
from fastgear.base.list cimport list_is_empty
from fastgear.base.status cimport FG_NEED_MORE, FG_OK
from fastgear.core.admin cimport answer_line, is_question
from fastgear.core.client_requests cimport expect_submission
from fastgear.core.dispatch cimport dispatch
from fastgear.core.flow cimport flow_might_stop, flow_stops, flow_stops_report, is_report, memory_is_short, peer_doom, unsent
from fastgear.core.halves cimport half_note
from fastgear.core.jobs cimport jobs_are_far
from fastgear.core.model cimport HOLD_NOTHING, LARGE_PACKET, MAX_HANDLE
from fastgear.core.peers cimport hears_nothing, output_of, peer_touch, send_error
from fastgear.core.worker_requests cimport is_own_job, no_such_job, refuse_report
from fastgear.protocol.encoder cimport slice_of
from fastgear.protocol.packet cimport (
    FROM_CLIENT, FROM_WORKER, HEADER_SIZE, PACKET_BAD_ARGUMENTS, PACKET_BAD_TYPE, PacketType, packet_fact,
    packet_fact_t, packet_read, packet_read_head, packet_t, slice_t,
)
from fastgear.protocol.text cimport MAX_LINE, line_read, line_t, text_string

cdef enum:
    FIRST_BLOB = 1 << 16        # bytes taken for large data at first; more only as they arrive

cdef const char* NO_ROOM = "The server's memory limit is reached"
cdef const char* NO_MEMORY = "The server is out of memory"


cdef size_t input_resume(peer_t* peer, uint8_t* to) noexcept nogil:
    cdef size_t length = peer.rest_length
    if length == 0 or peer.blob != NULL:
        return 0
    memcpy(to, peer.rest, length)
    drop_rest(peer)
    return length


cdef void input_receive(state_t* state, peer_t* peer, const uint8_t* bytes, size_t length) noexcept nogil:
    cdef size_t used = 0, step
    fg_check(peer.rest == NULL and peer.blob == NULL and peer.hold == HOLD_NOTHING)
    state.speaker = peer
    while used < length and not peer.closing:
        if peer.skip > 0:
            step = skip(peer, length - used)
        elif flow_might_stop(state, peer) and flow_stops(state, peer, bytes + used, length - used):
            break
        elif bytes[used] == 0:
            step = take_packet(state, peer, bytes + used, length - used)
        else:
            step = take_line(state, peer, bytes + used, length - used)
        if step == 0:
            break
        used += step
    state.speaker = NULL
    if used < length and not peer.closing and peer.blob == NULL:
        keep_rest(state, peer, bytes + used, length - used)
    half_note(state, peer)


cdef void input_more(state_t* state, peer_t* peer, const uint8_t* bytes, size_t length) noexcept nogil:
    cdef size_t wanted
    cdef uint8_t* to
    while length > 0 and not peer.closing:
        wanted = input_wants(state, peer, &to)
        if wanted == 0:
            break
        wanted = min(wanted, length)
        memcpy(to, bytes, wanted)
        input_filled(state, peer, wanted)
        bytes += wanted
        length -= wanted
    if length == 0 or peer.closing:
        return
    if peer.rest != NULL:
        append_to_rest(state, peer, bytes, length)
        if peer.hold == HOLD_NOTHING and not peer.closing:
            input_continue(state, peer)
    elif peer.hold == HOLD_NOTHING:
        input_receive(state, peer, bytes, length)
    else:
        keep_rest(state, peer, bytes, length)


cdef void append_to_rest(state_t* state, peer_t* peer, const uint8_t* bytes, size_t length) noexcept nogil:
    cdef void* grown = fg_realloc(peer.rest, peer.rest_length + length)
    if grown == NULL:
        peer_doom(state, peer)
        return
    peer.rest = <uint8_t*>grown
    memcpy(peer.rest + peer.rest_length, bytes, length)
    peer.rest_length += length


cdef void input_continue(state_t* state, peer_t* peer) noexcept nogil:
    cdef uint8_t* bytes = peer.rest
    cdef size_t length = peer.rest_length
    peer.rest = NULL
    peer.rest_length = 0
    input_receive(state, peer, bytes, length)
    fg_free(bytes)


cdef inline size_t skip(peer_t* peer, size_t available) noexcept nogil:
    if available > peer.skip:
        available = <size_t>peer.skip
    peer.skip -= available
    return available


cdef int keep_rest(state_t* state, peer_t* peer, const uint8_t* bytes, size_t length) noexcept nogil:
    peer.rest = <uint8_t*>fg_malloc(length)
    if peer.rest == NULL:
        peer_doom(state, peer)
        return FG_NEED_MORE
    memcpy(peer.rest, bytes, length)
    peer.rest_length = length
    return FG_OK


cdef void drop_rest(peer_t* peer) noexcept nogil:
    fg_free(peer.rest)
    peer.rest = NULL
    peer.rest_length = 0


# -- packets ----------------------------------------------------------------------------------------------------------

cdef size_t take_packet(state_t* state, peer_t* peer, const uint8_t* bytes, size_t available) noexcept nogil:
    """Handle the packet at the front, and say how long it is; 0 when more of it must come first."""
    cdef packet_t packet
    cdef int status = packet_read(bytes, available, &packet)
    if status != FG_OK or packet.length > LARGE_PACKET or packet.length > state.settings.max_packet_size:
        if status != FG_OK or not is_allowed(state, &packet):
            return take_other(state, peer, bytes, available, &packet, status)
    if not packet.has_data and has_more(&packet, bytes):
        return refuse_more(state, peer, &packet)
    if not list_is_empty(&state.slow) and flow_stops_report(state, peer, &packet):
        return 0
    if jobs_are_far(state):
        expect_submission(state, bytes + packet.length, available - packet.length)
    dispatch(state, peer, &packet)
    return packet.length


cdef bint is_allowed(const state_t* state, const packet_t* packet) noexcept nogil:
    return packet.length <= state.settings.max_packet_size and packet.length - packet.data_length <= LARGE_PACKET


cdef size_t take_other(
    state_t* state, peer_t* peer, const uint8_t* bytes, size_t available, packet_t* packet, int status
) noexcept nogil:
    """What is not all here, or not as it should be."""
    if status == PACKET_BAD_TYPE and packet.length <= state.settings.max_packet_size:
        return refuse(state, peer, packet, "INVALID_COMMAND", "There is no packet of this type")
    if status != PACKET_BAD_TYPE and packet.length > state.settings.max_packet_size:
        return refuse_large(state, peer, bytes, available, packet)
    if status == FG_NEED_MORE:
        return begin_large(state, peer, bytes, available, packet) if packet.length > LARGE_PACKET else 0
    if (status == FG_OK or status == PACKET_BAD_ARGUMENTS) and packet.length - packet.data_length > LARGE_PACKET:
        return refuse_arguments(state, peer, packet)
    if status == PACKET_BAD_ARGUMENTS:
        return refuse(state, peer, packet, "INVALID_ARGUMENT", "An argument of the packet is missing")
    return refuse_all(state, peer, available)


cdef bint has_more(packet_t* packet, const uint8_t* bytes) noexcept nogil:
    """Whether there is more than the arguments, in a request that ends with them. One NUL at the end, as some libraries
    send it, is taken off."""
    cdef const packet_fact_t* fact = packet_fact(packet.type)
    cdef slice_t last = slice_of(<const char*>bytes + HEADER_SIZE, packet.length - HEADER_SIZE)
    if not packet.is_request or not fact.senders & (FROM_CLIENT | FROM_WORKER):
        return False
    if fact.arguments > 0:
        last = packet.args[fact.arguments - 1]
    if last.length > 0 and last.bytes[last.length - 1] == 0:
        last.length -= 1
    if fact.arguments == 0:
        return last.length > 0
    packet.args[fact.arguments - 1] = last
    return last.length > 0 and memchr(last.bytes, 0, last.length) != NULL


cdef size_t refuse_all(state_t* state, peer_t* peer, size_t available) noexcept nogil:
    """The framing is lost."""
    send_error(state, peer, "INVALID_MAGIC", "This is no packet, and what follows cannot be told; the connection is closed")
    peer.closing = True
    return available


cdef size_t refuse(state_t* state, peer_t* peer, const packet_t* packet, const char* code, const char* text) noexcept nogil:
    """Answer ERROR and step over the packet, what has not come of it included."""
    send_error(state, peer, code, text)
    peer.skip = packet.length
    return skip(peer, 1)  # the caller's loop skips the rest


cdef size_t refuse_more(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    """A WORK_FAIL with more than its handle ends the job all the same: its clients would wait for ever."""
    cdef slice_t handle = packet.args[0]
    if packet.type == PacketType.WORK_FAIL:
        handle.length = <const uint8_t*>memchr(handle.bytes, 0, handle.length) - handle.bytes
        refuse_report(state, peer, handle)
    return refuse(state, peer, packet, "INVALID_ARGUMENT", "The packet has more arguments than its type")


cdef size_t refuse_large(
    state_t* state, peer_t* peer, const uint8_t* bytes, size_t available, packet_t* packet
) noexcept nogil:
    """Of a report the handle must be here before it can be refused: its job ends with it."""
    cdef const uint8_t* nul
    if is_report(packet):
        available = min(available, <size_t>HEADER_SIZE + MAX_HANDLE + 1)
        nul = <const uint8_t*>memchr(bytes + HEADER_SIZE, 0, available - HEADER_SIZE)
        if nul == NULL and available < HEADER_SIZE + MAX_HANDLE + 1:
            return 0
        if nul != NULL:
            refuse_report(state, peer, slice_of(bytes + HEADER_SIZE, nul - (bytes + HEADER_SIZE)))
    return refuse(state, peer, packet, "ARGUMENT_TOO_LARGE", "The packet is larger than the server allows")


cdef size_t refuse_arguments(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    """The arguments, unlike the data, must be here before anything else, so they may not be large."""
    return refuse(state, peer, packet, "ARGUMENT_TOO_LARGE", "The arguments of the packet are too large")


# -- large packets: the data go into a blob of their own, the head stays in peer.rest ---------------------------------

cdef size_t begin_large(
    state_t* state, peer_t* peer, const uint8_t* bytes, size_t available, packet_t* packet
) noexcept nogil:
    cdef int status = packet_read_head(bytes, available, packet)
    cdef size_t head
    if status == FG_NEED_MORE and available < LARGE_PACKET:
        return 0
    head = packet.length - packet.data_length
    if status != FG_OK or head > LARGE_PACKET:
        return refuse_arguments(state, peer, packet)
    if is_report(packet) and not is_own_job(state, peer, packet.args[0]):
        return refuse(state, peer, packet, "JOB_NOT_FOUND", no_such_job(packet.type))
    if flow_stops_report(state, peer, packet):
        return 0
    if not is_report(packet) and memory_is_short(state, packet.data_length):
        return refuse(state, peer, packet, "QUEUE_ERROR", NO_ROOM)
    peer.blob = shelf_take(&state.spares, packet.data_length)
    if peer.blob == NULL:
        peer.blob = blob_new(min(packet.data_length, max(packet.data.length, <size_t>FIRST_BLOB)))
    if peer.blob == NULL:
        if is_report(packet):
            refuse_report(state, peer, packet.args[0])
        return refuse(state, peer, packet, "MEMORY_ALLOCATION_FAILURE", NO_MEMORY)
    state.memory += peer.blob.capacity
    if keep_rest(state, peer, bytes, head) != FG_OK:
        return available
    packet_read_head(peer.rest, head, &peer.head)  # once more, so that its arguments point into rest
    memcpy(peer.blob.bytes, packet.data.bytes, packet.data.length)
    peer.blob.length = packet.data.length
    peer.blob_missing = packet.data_length - packet.data.length
    return available


cdef size_t input_wants(state_t* state, peer_t* peer, uint8_t** to) noexcept nogil:
    cdef size_t room
    if peer.blob == NULL or peer.closing:
        return 0
    if peer.blob.length == peer.blob.capacity and not grow_large(state, peer):
        return 0
    room = peer.blob.capacity - peer.blob.length
    to[0] = peer.blob.bytes + peer.blob.length
    return room if room < peer.blob_missing else peer.blob_missing


cdef bint grow_large(state_t* state, peer_t* peer) noexcept nogil:
    """Twice the room, up to what is announced. False: there is none, and the packet is given up."""
    cdef size_t more = peer.blob.capacity if peer.blob.capacity < peer.blob_missing else peer.blob_missing
    cdef blob_t* grown
    if not is_report(&peer.head) and memory_is_short(state, more):
        give_up_large(state, peer, "QUEUE_ERROR", NO_ROOM)
        return False
    grown = blob_resize(peer.blob, peer.blob.capacity + more)
    if grown == NULL:
        if is_report(&peer.head):
            refuse_report(state, peer, peer.head.args[0])
        give_up_large(state, peer, "MEMORY_ALLOCATION_FAILURE", NO_MEMORY)
        return False
    peer.blob = grown
    state.memory += more
    return True


cdef void give_up_large(state_t* state, peer_t* peer, const char* code, const char* text) noexcept nogil:
    send_error(state, peer, code, text)
    peer.skip = peer.blob_missing
    blob_release(take_blob(state, peer))
    drop_rest(peer)


cdef blob_t* take_blob(state_t* state, peer_t* peer) noexcept nogil:
    """Out of the peer's hands, and out of the count."""
    cdef blob_t* blob = peer.blob
    peer.blob = NULL
    state.memory -= blob.capacity
    return blob


cdef void input_filled(state_t* state, peer_t* peer, size_t length) noexcept nogil:
    cdef blob_t* blob = peer.blob
    blob.length += length
    peer.blob_missing -= length
    if peer.blob_missing > 0:
        half_note(state, peer)
        return
    peer.head.blob = take_blob(state, peer)
    peer.head.data.bytes = blob.bytes
    peer.head.data.length = blob.length
    state.speaker = peer
    dispatch(state, peer, &peer.head)
    state.speaker = NULL
    shelf_put(&state.spares, blob)
    drop_rest(peer)
    half_note(state, peer)


# -- text -------------------------------------------------------------------------------------------------------------

cdef size_t take_line(state_t* state, peer_t* peer, const uint8_t* bytes, size_t available) noexcept nogil:
    cdef line_t line
    cdef int status = line_read(bytes, available if available < MAX_LINE else MAX_LINE, &line)
    if memchr(bytes, 0, line.length if status == FG_OK else min(available, <size_t>MAX_LINE)) != NULL:
        return refuse_all(state, peer, available)
    if status == FG_OK:
        if hears_nothing(peer) and is_question(&line):
            return line.length
        status = answer_line(state, output_of(peer), &line)
    elif available < MAX_LINE:
        return 0
    else:
        line.length = available
        peer.closing = True
        status = text_string(output_of(peer), "ERR LINE_TOO_LONG A+command+is+one+line+of+less+than+8192+bytes\r\n")
    if status != FG_OK:
        peer_doom(state, peer)
    else:
        state.effort += (unsent(peer) - peer.counted) >> 5  # a listing costs more than its bytes
        peer_touch(state, peer)
    return line.length
