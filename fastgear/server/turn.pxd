# SPDX-License-Identifier: MIT
"""The life of a loop, in one call."""

from fastgear.server.model cimport loop_t

# Until a request stops it and what is under way has arrived; everything is closed then.
cdef void run(loop_t* loop) noexcept nogil
