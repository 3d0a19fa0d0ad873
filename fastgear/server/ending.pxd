# SPDX-License-Identifier: MIT
"""The end of connections. Nothing is freed before the end of a turn, so that no event of it can reach a dead one."""

from fastgear.server.model cimport connection_t, local_t, loop_t

cdef void mark_dead(loop_t* loop, connection_t* connection) noexcept nogil
cdef void free_dead(loop_t* loop) noexcept nogil
cdef void close_connections(loop_t* loop) noexcept nogil
cdef void close_local(loop_t* loop, local_t* local) noexcept nogil
cdef void close_locals(loop_t* loop) noexcept nogil

# The other side says nothing more.
cdef void end_heard(loop_t* loop, connection_t* connection) noexcept nogil
# We say nothing more.
cdef void say_goodbye(loop_t* loop, connection_t* connection) noexcept nogil
cdef void end_lingering(loop_t* loop) noexcept nogil

# Something was sent: see later whether its machine is still there.
cdef void prove_later(loop_t* loop, connection_t* connection) noexcept nogil
cdef void end_lost(loop_t* loop) noexcept nogil
