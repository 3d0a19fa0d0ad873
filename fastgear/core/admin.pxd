# SPDX-License-Identifier: MIT
"""Text commands, answered in gearmand's formats."""

from fastgear.base.buffer cimport buffer_t
from fastgear.core.model cimport state_t
from fastgear.protocol.text cimport line_t

# Append the whole reply. FG_OK or FG_ENOMEM.
cdef int answer_line(state_t* state, buffer_t* out, const line_t* line) noexcept nogil

# Whether the reply is all that comes of it: status, workers and the like, which may be long and cost as much.
cdef bint is_question(const line_t* line) noexcept nogil
