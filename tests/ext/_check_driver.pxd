# SPDX-License-Identifier: MIT
"""What must hold in a core at any time, and what else at the end of a turn."""

from fastgear.core.model cimport state_t

# NULL, or a sentence that says what is broken. With `settled`, between two turns.
cdef const char* state_complaint(state_t* state, bint settled) noexcept nogil
