# SPDX-License-Identifier: MIT
"""Back-pressure.

Output piles up where a peer reads more slowly than it is written to, and there are two causes. Its own requests: at
`pause_output` the next ones wait until it has read. Others' reports to it as a client: above `max_output` the workers
that have more for it wait, each at its next report. So no amount of results, and no number of prefetched jobs, cuts off
a peer that reads. One that does not is cut off: above `max_output` it gets `output_timeout_ns` for every quarter of that,
and a peer that is closing gets as long for any byte at all.

A peer may also keep the loop busy with requests that cost much. It stops after a while, and goes on in the next turn.
"""

from fastgear.base.list cimport link_init, link_remove, list_first, list_init, list_is_empty, list_push_back
from fastgear.base.buffer cimport buffer_consume
from fastgear.core.jobs cimport job_by_handle, wait_from_in_job
from fastgear.core.model cimport HOLD_CLIENT, HOLD_FULL, HOLD_NOTHING, HOLD_TURN, job_t

cdef enum:
    EFFORT_A_TURN = 10000       # about a millisecond


cdef void flow_init(state_t* state) noexcept nogil:
    list_init(&state.resumed)
    list_init(&state.slow)


cdef void flow_begin(peer_t* peer) noexcept nogil:
    link_init(&peer.in_held)
    link_init(&peer.in_resumed)
    link_init(&peer.in_slow)
    list_init(&peer.held)


cdef void flow_end(state_t* state, peer_t* peer) noexcept nogil:
    release_held(state, peer)
    unlink(&peer.in_held)
    unlink(&peer.in_resumed)
    unlink(&peer.in_slow)
    state.output -= peer.counted
    peer.counted = 0


cdef inline void unlink(link_t* link) noexcept nogil:
    if link_is_linked(link):
        link_remove(link)


cdef inline peer_t* peer_from_in_held(link_t* link) noexcept nogil:
    return <peer_t*>(<char*>link - <size_t>&(<peer_t*>NULL).in_held)


cdef inline peer_t* peer_from_in_resumed(link_t* link) noexcept nogil:
    return <peer_t*>(<char*>link - <size_t>&(<peer_t*>NULL).in_resumed)


# -- input waits ------------------------------------------------------------------------------------------------------

cdef bint flow_stops(state_t* state, peer_t* peer, uint64_t effort) noexcept nogil:
    if buffer_length(&peer.out) >= state.settings.pause_output:
        peer.hold = HOLD_FULL
        return True
    if state.effort - effort > EFFORT_A_TURN:
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
        if buffer_length(&client.out) > state.settings.max_output:
            peer.hold = HOLD_CLIENT
            list_push_back(&client.held, &peer.in_held)
            return True
        link = link.next
    return False


# -- and goes on ------------------------------------------------------------------------------------------------------

cdef void resume(state_t* state, peer_t* peer) noexcept nogil:
    peer.hold = HOLD_TURN
    list_push_back(&state.resumed, &peer.in_resumed)


cdef void release_held(state_t* state, peer_t* client) noexcept nogil:
    cdef peer_t* worker
    while not list_is_empty(&client.held):
        worker = peer_from_in_held(list_first(&client.held))
        link_remove(&worker.in_held)
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
    cdef size_t left
    buffer_consume(&peer.out, length)
    peer.taken += length
    left = buffer_length(&peer.out)
    state.output -= peer.counted - left
    peer.counted = left
    if left <= state.settings.max_output and not list_is_empty(&peer.held):
        release_held(state, peer)
    if peer.hold == HOLD_FULL and left < state.settings.pause_output:
        resume(state, peer)
    if left > state.settings.max_output or (peer.closing and left > 0):
        if not link_is_linked(&peer.in_slow):
            flow_watch(state, peer)
    else:
        unlink(&peer.in_slow)


# -- who does not read ------------------------------------------------------------------------------------------------

cdef void flow_watch(state_t* state, peer_t* peer) noexcept nogil:
    """At the back of the list, since every peer gets the same time."""
    cdef bint too_much = buffer_length(&peer.out) > state.settings.max_output
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
        if peer.taken >= peer.slow_taken:
            flow_watch(state, peer)
        else:
            state.counters.cut_off += 1
            peer_doom(state, peer)


cdef void peer_doom(state_t* state, peer_t* peer) noexcept nogil:
    peer.closing = True
    if not link_is_linked(&peer.in_doomed):
        list_push_back(&state.doomed, &peer.in_doomed)
