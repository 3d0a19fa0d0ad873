# SPDX-License-Identifier: MIT
"""From a peer's bytes to its packets and lines. The bytes may be cut anywhere."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from fastgear.core.model cimport peer_t, state_t

# Put what is left of earlier bytes at the start of `to` (room for LARGE_PACKET) and return how many; read on behind them.
cdef size_t input_resume(peer_t* peer, uint8_t* to) noexcept nogil
# Handle all that is complete in bytes, and keep the rest.
cdef void input_receive(state_t* state, peer_t* peer, const uint8_t* bytes, size_t length) noexcept nogil

# For who has no buffer in front: handle bytes behind what is left, or keep them while the peer's input has to wait.
cdef void input_more(state_t* state, peer_t* peer, const uint8_t* bytes, size_t length) noexcept nogil
# After flow_resume: go on with what was kept when the peer's input had to wait.
cdef void input_continue(state_t* state, peer_t* peer) noexcept nogil

# While the data of a large packet are under way: where the next of them belong, and how many; 0 otherwise.
cdef size_t input_wants(state_t* state, peer_t* peer, uint8_t** to) noexcept nogil
cdef void input_filled(state_t* state, peer_t* peer, size_t length) noexcept nogil
