# SPDX-License-Identifier: MIT
"""The sending part of a turn."""

from fastgear.server.model cimport connection_t, loop_t

# Let send_all look at it in this turn; those with new output are seen anyway.
cdef void note_output(loop_t* loop, connection_t* connection) noexcept nogil
cdef void send_all(loop_t* loop) noexcept nogil
