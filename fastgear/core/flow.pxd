# SPDX-License-Identifier: MIT
"""Flow: whose input waits, and for whom. Nobody is cut off for having much to read; only for not reading it."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint64_t

from fastgear.base.buffer cimport buffer_length
from fastgear.base.list cimport link_is_linked, link_t, list_is_empty
from fastgear.core.model cimport peer_t, state_t
from fastgear.protocol.packet cimport PacketType, packet_t

cdef void flow_init(state_t* state) noexcept nogil
cdef void flow_begin(peer_t* peer) noexcept nogil
# Before a peer is freed: nobody waits for it any more, and it for nobody.
cdef void flow_end(state_t* state, peer_t* peer) noexcept nogil

# Whether the peer's input must wait before what begins with these bytes is looked at; only asked when flow_might_stop.
cdef bint flow_stops(state_t* state, peer_t* peer, const uint8_t* bytes, size_t available) noexcept nogil
# Whether this request, complete or not, must wait: it is a report to a client that has too much to read.
cdef bint flow_stops_report(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
# A peer whose input goes on now, or NULL.
cdef peer_t* flow_resume(state_t* state) noexcept nogil
# A worker's job is over, or its client is: if its input waits for that, it goes on.
cdef void flow_free_worker(state_t* state, peer_t* worker) noexcept nogil
cdef void flow_free_awaiting(state_t* state, peer_t* worker) noexcept nogil
cdef void flow_free_workers(state_t* state, peer_t* client) noexcept nogil
# All that are on a list by in_held go on.
cdef void flow_free_held(state_t* state, link_t* held) noexcept nogil

# The loop has sent so many bytes of peer.out.
cdef void flow_sent(state_t* state, peer_t* peer, size_t length) noexcept nogil
# Who goes on, and who is watched, after peer.out or peer.closing has changed.
cdef void flow_review(state_t* state, peer_t* peer) noexcept nogil
# Let peers go whose time to read is over.
cdef void flow_cut_off(state_t* state) noexcept nogil
cdef void flow_watch(state_t* state, peer_t* peer) noexcept nogil
# To be disconnected at the end of the turn, and told nothing more: its output could not be kept, or is not read.
cdef void peer_doom(state_t* state, peer_t* peer) noexcept nogil

cdef enum:
    EFFORT_A_TURN = 20000       # about two milliseconds

cdef inline bint flow_is_spent(const state_t* state) noexcept nogil:
    """Whether the turn has had its share of costly work."""
    return state.effort - state.effort_before > EFFORT_A_TURN

cdef inline bint flow_might_stop(const state_t* state, const peer_t* peer) noexcept nogil:
    """The cheap part of the question: what it takes for anything to wait."""
    return (
        peer.awaited != NULL or peer.own >= state.settings.pause_output or flow_is_spent(state)
        or buffer_length(&state.journal.filling.records) >= state.settings.max_journal
    )

cdef inline bint is_report(const packet_t* packet) noexcept nogil:
    """A worker's word on its job, which its clients wait for."""
    cdef int type = packet.type
    return packet.is_request and (
        type == PacketType.WORK_COMPLETE or type == PacketType.WORK_DATA or type == PacketType.WORK_STATUS
        or type == PacketType.WORK_WARNING or type == PacketType.WORK_EXCEPTION
    )

cdef inline bint memory_is_short(const state_t* state, uint64_t more) noexcept nogil:
    """Whether so many bytes more would be over the limit."""
    return state.settings.max_memory and state.memory + state.output + more > state.settings.max_memory

cdef inline peer_t* peer_from_in_slow(link_t* link) noexcept nogil:
    return <peer_t*>(<char*>link - <size_t>&(<peer_t*>NULL).in_slow)

cdef inline size_t unsent(const peer_t* peer) noexcept nogil:
    """Bytes that wait for it, be it on the store."""
    return buffer_length(&peer.out) + buffer_length(&peer.behind)

cdef inline bint is_answered(const peer_t* peer) noexcept nogil:
    """Nothing waits for it, and nothing will by itself."""
    return buffer_length(&peer.out) == 0 and list_is_empty(&peer.answers)

cdef inline void flow_count(state_t* state, peer_t* peer) noexcept nogil:
    """After every change of peer.out and peer.behind but by sending."""
    cdef size_t length = unsent(peer)
    if length > peer.counted:
        state.effort += (length - peer.counted) >> 10
    state.output += length - peer.counted
    if state.speaker == peer and length > peer.counted:
        peer.own += length - peer.counted
    peer.counted = length
    if length > state.settings.max_output and not link_is_linked(&peer.in_slow):
        flow_watch(state, peer)
