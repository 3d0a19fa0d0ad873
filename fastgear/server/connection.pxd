# SPDX-License-Identifier: MIT
"""One connection: its socket, and the bytes between it and its peer in the core."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from fastgear.core.model cimport state_t
from fastgear.server.model cimport connection_t

cdef connection_t* connection_new(state_t* state, int epoll_fd, int fd) noexcept nogil  # NULL: no memory
cdef void connection_free(int epoll_fd, connection_t* connection) noexcept nogil

# One recv, and what follows from it. False: nothing more will come, or an error.
cdef bint connection_read(state_t* state, connection_t* connection, uint8_t* scratch) noexcept nogil
# One send of what waits. False: the other side hears nothing any more.
cdef bint connection_write(state_t* state, connection_t* connection) noexcept nogil
# Read and forget; False at the end of it.
cdef bint connection_discard(connection_t* connection, uint8_t* scratch) noexcept nogil
# Ask epoll for what is wanted now. False: it cannot be had.
cdef bint connection_watch(int epoll_fd, connection_t* connection) noexcept nogil
# Take it out of epoll, which tells of a hang-up whether asked to or not, until connection_watch wants something again.
cdef void connection_unwatch(int epoll_fd, connection_t* connection) noexcept nogil
# Bytes that the system has taken and the other side's system has not; 0 where the two are one.
cdef size_t connection_unacknowledged(const connection_t* connection) noexcept nogil
# Whether the other side's system has said nothing for timeout_ms while it should have.
cdef bint connection_is_lost(const connection_t* connection, uint32_t timeout_ms) noexcept nogil
