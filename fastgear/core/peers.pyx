# SPDX-License-Identifier: MIT
"""Peers come and go here, and are spoken to through here. What is said is decided elsewhere."""

from fastgear.base.alloc cimport fg_calloc, fg_free
from fastgear.base.bitset cimport bitset_free, bitset_init
from fastgear.base.blob cimport blob_release
from fastgear.base.buffer cimport buffer_free, buffer_init, buffer_length
from fastgear.base.check cimport fg_check
from fastgear.base.list cimport (
    link_init, link_is_linked, link_remove, link_unlink, list_init, list_is_empty, list_push_back,
)
from fastgear.base.status cimport FG_OK
from fastgear.core.flow cimport flow_begin, flow_count, flow_end, peer_doom
from fastgear.core.halves cimport half_begin, half_end
from fastgear.protocol.encoder cimport encode_empty, encode_error, encode_packet, encode_packet_blob


cdef peer_t* peer_new(state_t* state) noexcept nogil:
    cdef peer_t* peer = <peer_t*>fg_calloc(1, sizeof(peer_t))
    if peer == NULL:
        return NULL
    state.next_peer += 1
    peer.id = state.next_peer
    peer.fd = -1
    peer.exceptions = state.settings.exceptions
    link_init(&peer.in_dirty)
    link_init(&peer.in_doomed)
    link_init(&peer.in_woken)
    link_init(&peer.in_served)
    buffer_init(&peer.out, &state.pieces)
    buffer_init(&peer.behind, &state.pieces)
    list_init(&peer.answers)
    bitset_init(&peer.can_do)
    list_init(&peer.waits)
    list_init(&peer.abilities)
    list_init(&peer.unlisted)
    list_init(&peer.jobs)
    flow_begin(peer)
    half_begin(peer)
    list_push_back(&state.peers, &peer.in_peers)
    state.peer_count += 1
    return peer


cdef void peer_free(state_t* state, peer_t* peer) noexcept nogil:
    fg_check(list_is_empty(&peer.waits) and list_is_empty(&peer.jobs) and list_is_empty(&peer.abilities))
    fg_check(list_is_empty(&peer.answers) and buffer_length(&peer.behind) == 0)
    fg_check(not link_is_linked(&peer.in_woken) and not link_is_linked(&peer.in_served))
    link_unlink(&peer.in_dirty)
    link_unlink(&peer.in_doomed)
    link_remove(&peer.in_peers)
    state.peer_count -= 1
    flow_end(state, peer)
    half_end(peer)
    buffer_free(&peer.out)
    bitset_free(&peer.can_do)
    if peer.blob != NULL:
        state.memory -= peer.blob.capacity
        blob_release(peer.blob)
    fg_free(peer.rest)
    fg_free(peer.client_id)
    fg_free(peer)


cdef inline void touch(state_t* state, peer_t* peer) noexcept nogil:
    if not link_is_linked(&peer.in_dirty):
        list_push_back(&state.dirty, &peer.in_dirty)
    flow_count(state, peer)


cdef void peer_touch(state_t* state, peer_t* peer) noexcept nogil:
    touch(state, peer)


cdef inline void sent(state_t* state, peer_t* peer, int status) noexcept nogil:
    if status == FG_OK:
        touch(state, peer)
    else:
        peer_doom(state, peer)


cdef void send_empty(state_t* state, peer_t* peer, int type) noexcept nogil:
    if not hears_nothing(peer):
        sent(state, peer, encode_empty(output_of(peer), type))


cdef void send_parts(state_t* state, peer_t* peer, int type, const slice_t* parts, int count) noexcept nogil:
    if not hears_nothing(peer):
        sent(state, peer, encode_packet(output_of(peer), False, type, parts, count))


cdef void send_error(state_t* state, peer_t* peer, const char* code, const char* text) noexcept nogil:
    state.counters.refused += 1
    if not hears_nothing(peer):
        sent(state, peer, encode_error(output_of(peer), code, text))


cdef void send_data(
    state_t* state, peer_t* peer, int type, slice_t* parts, int count, slice_t data, blob_t* blob
) noexcept nogil:
    if hears_nothing(peer):
        return
    if blob != NULL:
        sent(state, peer, encode_packet_blob(output_of(peer), False, type, parts, count, blob, 0, blob.length))
        return
    parts[count] = data  # callers leave room for it
    sent(state, peer, encode_packet(output_of(peer), False, type, parts, count + 1))
