# SPDX-License-Identifier: MIT
"""Back-pressure.

Output piles up where a peer reads more slowly than it is written to, and there are two causes. Its own requests: when
`pause_output` of answers to them wait, further ones wait until it has read; but not its reports, since a worker may well
send a large result before it reads on. Others' reports to it as a client: above `max_output` the workers that have more for
it wait, each at its next report, until a quarter of that has left. So no amount of results, and no number of prefetched
jobs, cuts off a peer that reads. One that does not is cut off: above `max_output` it gets `output_timeout_ns` for every
quarter, and a peer that is closing gets as long for any byte at all.

Costly requests, of one peer or of many, fill a turn up to a bound; who comes after that goes on in the next one.
"""

from fastgear.base.list cimport (
    link_init, link_remove, link_unlink, list_first, list_init, list_is_empty, list_pop_front, list_push_back,
)
from fastgear.base.buffer cimport buffer_consume
from fastgear.core.jobs cimport job_by_handle, wait_from_in_job
from fastgear.core.model cimport HOLD_CLIENT, HOLD_FULL, HOLD_NOTHING, HOLD_STORE, HOLD_TURN, HOLD_WORKLOAD, job_t
from fastgear.protocol.packet cimport HEADER_SIZE

cdef void flow_init(state_t* state) noexcept nogil:
    list_init(&state.resumed)
    list_init(&state.slow)


cdef void flow_begin(peer_t* peer) noexcept nogil:
    link_init(&peer.in_held)
    link_init(&peer.in_resumed)
    link_init(&peer.in_slow)
    list_init(&peer.held)


cdef void flow_end(state_t* state, peer_t* peer) noexcept nogil:
    flow_free_workers(state, peer)
    link_unlink(&peer.in_held)
    link_unlink(&peer.in_resumed)
    link_unlink(&peer.in_slow)
    state.output -= peer.counted
    peer.counted = 0


cdef inline peer_t* peer_from_in_held(link_t* link) noexcept nogil:
    return <peer_t*>(<char*>link - <size_t>&(<peer_t*>NULL).in_held)


cdef inline peer_t* peer_from_in_resumed(link_t* link) noexcept nogil:
    return <peer_t*>(<char*>link - <size_t>&(<peer_t*>NULL).in_resumed)


# -- input waits ------------------------------------------------------------------------------------------------------

cdef inline size_t own_output(const peer_t* peer) noexcept nogil:
    """At the most so much of what waits are answers to its own requests."""
    return min(peer.own, unsent(peer))


cdef inline int request_type(const uint8_t* bytes, size_t available) noexcept nogil:
    """Of the packet that begins here; -1 where that cannot be said, or it is a line."""
    return bytes[7] if available >= HEADER_SIZE and bytes[0] == 0 else -1


cdef bint is_quiet(const uint8_t* bytes, size_t available) noexcept nogil:
    """Whether a request begins here that is answered at most by an ERROR: reports and abilities."""
    cdef int type = request_type(bytes, available)
    return (
        type == PacketType.WORK_COMPLETE or type == PacketType.WORK_DATA or type == PacketType.WORK_STATUS
        or type == PacketType.WORK_WARNING or type == PacketType.WORK_EXCEPTION or type == PacketType.WORK_FAIL
        or type == PacketType.CAN_DO or type == PacketType.CAN_DO_TIMEOUT or type == PacketType.CANT_DO
        or type == PacketType.RESET_ABILITIES or type == PacketType.PRE_SLEEP
    )


cdef bint is_durable(const uint8_t* bytes, size_t available) noexcept nogil:
    """Whether a submission of a background job begins here."""
    cdef int type = request_type(bytes, available)
    return (
        type == PacketType.SUBMIT_JOB_BG or type == PacketType.SUBMIT_JOB_HIGH_BG or type == PacketType.SUBMIT_JOB_LOW_BG
        or type == PacketType.SUBMIT_JOB_EPOCH or type == PacketType.SUBMIT_JOB_SCHED
        or type == PacketType.SUBMIT_REDUCE_JOB_BACKGROUND
    )


cdef bint flow_stops(state_t* state, peer_t* peer, const uint8_t* bytes, size_t available) noexcept nogil:
    cdef size_t own = own_output(peer)
    if peer.awaited != NULL and not is_quiet(bytes, available):
        peer.hold = HOLD_WORKLOAD
        return True
    if own >= state.settings.pause_output and (
        own >= state.settings.max_output + state.settings.max_packet_size or not is_quiet(bytes, available)
    ):
        peer.hold = HOLD_FULL
        return True
    if buffer_length(&state.journal.filling.records) >= state.settings.max_journal and is_durable(bytes, available):
        peer.hold = HOLD_STORE
        list_push_back(&state.journal.held, &peer.in_held)
        return True
    if flow_is_spent(state):
        resume(state, peer)
        return True
    return False


cdef bint flow_stops_report(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    cdef job_t* job
    cdef link_t* link
    cdef peer_t* client
    if list_is_empty(&state.slow) or not is_report(packet):
        return False
    job = job_by_handle(state, packet.args[0])
    if job == NULL or job.worker != peer:
        return False
    link = job.waits.next
    while link != &job.waits:
        client = wait_from_in_job(link).peer
        if unsent(client) > state.settings.max_output:
            peer.hold = HOLD_CLIENT
            list_push_back(&client.held, &peer.in_held)
            return True
        link = link.next
    return False


# -- and goes on ------------------------------------------------------------------------------------------------------

cdef void resume(state_t* state, peer_t* peer) noexcept nogil:
    peer.hold = HOLD_TURN
    list_push_back(&state.resumed, &peer.in_resumed)


cdef void flow_free_workers(state_t* state, peer_t* client) noexcept nogil:
    flow_free_held(state, &client.held)


cdef void flow_free_held(state_t* state, link_t* held) noexcept nogil:
    cdef peer_t* peer
    while not list_is_empty(held):
        peer = peer_from_in_held(list_pop_front(held))
        resume(state, peer)


cdef void flow_free_worker(state_t* state, peer_t* worker) noexcept nogil:
    if worker.hold == HOLD_CLIENT:
        link_remove(&worker.in_held)
        resume(state, worker)


cdef void flow_free_awaiting(state_t* state, peer_t* worker) noexcept nogil:
    if worker.hold == HOLD_WORKLOAD:
        resume(state, worker)


cdef peer_t* flow_resume(state_t* state) noexcept nogil:
    cdef peer_t* peer
    if list_is_empty(&state.resumed):
        return NULL
    peer = peer_from_in_resumed(list_first(&state.resumed))
    link_remove(&peer.in_resumed)
    peer.hold = HOLD_NOTHING
    return peer


cdef void flow_sent(state_t* state, peer_t* peer, size_t length) noexcept nogil:
    buffer_consume(&peer.out, length)
    peer.taken += length
    state.output -= length
    peer.counted -= length
    if peer.counted == 0:
        peer.own = 0
    flow_review(state, peer)


cdef void flow_review(state_t* state, peer_t* peer) noexcept nogil:
    cdef size_t left = unsent(peer)
    cdef size_t enough = state.settings.max_output - state.settings.max_output // 4
    if left <= enough:
        flow_free_workers(state, peer)
    if peer.hold == HOLD_FULL and own_output(peer) < state.settings.pause_output:
        resume(state, peer)
    if link_is_linked(&peer.in_slow):
        if left <= enough and not (peer.closing and left > 0):
            link_remove(&peer.in_slow)
    elif left > state.settings.max_output or (peer.closing and left > 0):
        flow_watch(state, peer)


# -- who does not read ------------------------------------------------------------------------------------------------

cdef void flow_watch(state_t* state, peer_t* peer) noexcept nogil:
    """At the back of the list, since every peer gets the same time."""
    cdef bint too_much = unsent(peer) > state.settings.max_output
    peer.slow_until_ns = state.now_ns + state.settings.output_timeout_ns
    peer.slow_taken = peer.taken + (state.settings.max_output // 4 if too_much else 1)
    list_push_back(&state.slow, &peer.in_slow)


cdef void flow_cut_off(state_t* state) noexcept nogil:
    cdef peer_t* peer
    while not list_is_empty(&state.slow):
        peer = peer_from_in_slow(list_first(&state.slow))
        if peer.slow_until_ns > state.now_ns:
            return
        link_remove(&peer.in_slow)
        if peer.taken >= peer.slow_taken or not list_is_empty(&peer.answers):
            flow_watch(state, peer)
        else:
            state.counters.cut_off += 1
            peer_doom(state, peer)


cdef void peer_doom(state_t* state, peer_t* peer) noexcept nogil:
    peer.closing = True
    if not link_is_linked(&peer.in_doomed):
        list_push_back(&state.doomed, &peer.in_doomed)
