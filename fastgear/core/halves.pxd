# SPDX-License-Identifier: MIT
"""Half packets and half lines: who has begun one must go on. Who has not may be silent for ever."""

from libc.stddef cimport size_t

from fastgear.base.list cimport link_t, link_unlink, list_push_back
from fastgear.core.model cimport HOLD_NOTHING, peer_t, state_t

cdef void halves_init(state_t* state) noexcept nogil
cdef void half_begin(peer_t* peer) noexcept nogil
cdef void half_end(peer_t* peer) noexcept nogil
# Answer and close those whose time is over.
cdef void halves_give_up(state_t* state) noexcept nogil

cdef inline peer_t* peer_from_in_halves(link_t* link) noexcept nogil:
    return <peer_t*>(<char*>link - <size_t>&(<peer_t*>NULL).in_halves)

cdef inline bint is_half(const peer_t* peer) noexcept nogil:
    """Whether more must come of what was begun. Where its input waits for others, the peer is not to blame."""
    return (
        (peer.rest != NULL or peer.blob != NULL or peer.skip > 0) and peer.hold == HOLD_NOTHING and not peer.closing
    )

cdef inline void half_note(state_t* state, peer_t* peer) noexcept nogil:
    """After bytes have come. At the back of the list, since every peer gets the same time."""
    link_unlink(&peer.in_halves)
    if is_half(peer) and state.settings.input_timeout_ns > 0:
        peer.half_until_ns = state.now_ns + state.settings.input_timeout_ns
        list_push_back(&state.halves, &peer.in_halves)
