# SPDX-License-Identifier: MIT
"""Peers: the core's side of a connection, and everything that is said to one."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from fastgear.base.blob cimport blob_t
from fastgear.base.buffer cimport buffer_t
from fastgear.base.list cimport link_is_linked, list_is_empty
from fastgear.core.model cimport peer_t, state_t
from fastgear.protocol.packet cimport packet_t, slice_t

cdef peer_t* peer_new(state_t* state) noexcept nogil  # NULL: no memory
# It must hold no jobs, waits and abilities any more.
cdef void peer_free(state_t* state, peer_t* peer) noexcept nogil

# After every growth of what waits for it: the loop will see it.
cdef void peer_touch(state_t* state, peer_t* peer) noexcept nogil

# Responses. There is nothing to return: a peer for whose answer there is no memory is doomed.
cdef void send_empty(state_t* state, peer_t* peer, int type) noexcept nogil
cdef void send_parts(state_t* state, peer_t* peer, int type, const slice_t* parts, int count) noexcept nogil
cdef void send_error(state_t* state, peer_t* peer, const char* code, const char* text) noexcept nogil
# `parts` are the arguments; the data are the blob's if there is one.
cdef void send_data(
    state_t* state, peer_t* peer, int type, slice_t* parts, int count, slice_t data, blob_t* blob
) noexcept nogil

cdef inline buffer_t* output_of(peer_t* peer) noexcept nogil:
    """Where what it hears next goes: behind the answers that wait for the store, if there are any."""
    return &peer.out if list_is_empty(&peer.answers) else &peer.behind

cdef inline bint hears_nothing(const peer_t* peer) noexcept nogil:
    return peer.deaf or link_is_linked(&peer.in_doomed)
