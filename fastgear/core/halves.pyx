# SPDX-License-Identifier: MIT
"""Half packets and half lines.

A peer that has begun one and says nothing more gets `input_timeout_ns` from its last byte on, then an answer that fits what
it began, and the end of its connection: whatever came next would be taken for the other half. Knows no sockets, no clock.
"""

from fastgear.base.list cimport link_init, link_remove, list_first, list_init, list_is_empty
from fastgear.base.status cimport FG_OK
from fastgear.core.flow cimport peer_doom
from fastgear.core.peers cimport output_of, peer_touch, send_error
from fastgear.protocol.text cimport text_string


cdef void halves_init(state_t* state) noexcept nogil:
    list_init(&state.halves)


cdef void half_begin(peer_t* peer) noexcept nogil:
    link_init(&peer.in_halves)


cdef void half_end(peer_t* peer) noexcept nogil:
    link_unlink(&peer.in_halves)


cdef void halves_give_up(state_t* state) noexcept nogil:
    cdef peer_t* peer
    while not list_is_empty(&state.halves):
        peer = peer_from_in_halves(list_first(&state.halves))
        if peer.half_until_ns > state.now_ns:
            return
        link_remove(&peer.in_halves)
        if is_half(peer):
            give_up(state, peer)


cdef void give_up(state_t* state, peer_t* peer) noexcept nogil:
    state.counters.unfinished += 1
    if peer.rest == NULL or peer.rest[0] == 0:
        send_error(state, peer, "TIMEOUT", "The rest of a packet did not come in time; the connection is closed")
    elif text_string(output_of(peer), "ERR TIMEOUT The+rest+of+a+line+did+not+come+in+time\r\n") != FG_OK:
        peer_doom(state, peer)
    peer.closing = True
    peer_touch(state, peer)
