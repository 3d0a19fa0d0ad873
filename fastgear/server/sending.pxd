# SPDX-License-Identifier: MIT
"""The sending part of a turn."""

from fastgear.core.model cimport peer_t
from fastgear.server.model cimport loop_t

# Let send_all look at it in this turn; those with new output are seen anyway.
cdef void note_output(loop_t* loop, peer_t* peer) noexcept nogil
cdef void send_all(loop_t* loop) noexcept nogil
