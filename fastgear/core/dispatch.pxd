# SPDX-License-Identifier: MIT
"""From a packet to its handler."""

from fastgear.core.model cimport peer_t, state_t
from fastgear.protocol.packet cimport packet_t

cdef void dispatch(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
