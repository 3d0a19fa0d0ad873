# SPDX-License-Identifier: MIT
"""One connection: its socket, and the bytes between it and its peer in the core."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t

from fastgear.base.list cimport link_t
from fastgear.core.model cimport peer_t, state_t

cdef enum:                      # what an epoll event is about
    WATCH_CONNECTION = 0
    WATCH_LISTENER = 1
    WATCH_INBOX = 2

cdef enum:
    SCRATCH = 1 << 18           # bytes read at once

# What epoll knows: first member of everything that is watched.
ctypedef struct watch_t:
    int kind                    # WATCH_...
    int fd

# Owned by loop_t.connections; freed by connection_free at the end of a turn.
ctypedef struct connection_t:
    watch_t watch
    link_t in_connections       # loop_t.connections
    link_t in_ending            # loop_t.dead or loop_t.lingering
    peer_t* peer                # NULL once the core has let go of it
    uint32_t interest           # epoll events asked for
    bint is_tcp
    bint eof                    # the other side will say nothing more
    bint dead                   # to be freed at the end of the turn
    int64_t linger_until_ns     # when the wait for the other side's close is over

cdef connection_t* connection_new(state_t* state, int epoll_fd, int fd) noexcept nogil  # NULL: no memory
cdef void connection_free(connection_t* connection) noexcept nogil

# One recv, and what follows from it. False: nothing more will come, or an error.
cdef bint connection_read(state_t* state, connection_t* connection, uint8_t* scratch) noexcept nogil
# One send of what waits. False: the other side is gone.
cdef bint connection_write(connection_t* connection) noexcept nogil
# Read and forget; False at the end of it.
cdef bint connection_discard(connection_t* connection, uint8_t* scratch) noexcept nogil
# Ask epoll for what is wanted now; `read_below` is the unsent output at which reading stops.
cdef void connection_watch(int epoll_fd, connection_t* connection, size_t read_below) noexcept nogil

cdef inline connection_t* connection_from_in_connections(link_t* link) noexcept nogil:
    return <connection_t*>(<char*>link - <size_t>&(<connection_t*>NULL).in_connections)

cdef inline connection_t* connection_from_in_ending(link_t* link) noexcept nogil:
    return <connection_t*>(<char*>link - <size_t>&(<connection_t*>NULL).in_ending)
