# SPDX-License-Identifier: MIT
"""Everything that the loop remembers beside the core's state, on one page."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastgear.base.list cimport link_t
from fastgear.core.model cimport peer_t, state_t
from fastgear.server.handover cimport handover_t
from fastgear.server.inbox cimport inbox_t
from fastgear.server.sys cimport pthread_cond_t, pthread_mutex_t

cdef enum:                      # what an epoll event is about
    WATCH_CONNECTION = 0
    WATCH_LISTENER = 1
    WATCH_INBOX = 2
    WATCH_LOCAL = 3             # not epoll's: a connection without a socket

cdef enum:
    SCRATCH = 1 << 18           # bytes read at once

cdef enum:
    NEVER = 0x7FFFFFFFFFFFFFFF

# What epoll knows: first member of everything that is watched.
ctypedef struct watch_t:
    int kind                    # WATCH_...
    int fd

# Owned by loop_t.connections; freed by free_connection at the end of a turn.
ctypedef struct connection_t:
    watch_t watch
    link_t in_connections       # loop_t.connections
    link_t in_ending            # loop_t.dead or loop_t.lingering
    peer_t* peer                # NULL once the core has let go of it
    link_t in_unproven          # loop_t.unproven: TCP, and something was sent
    int64_t prove_at_ns         # when to look whether the other side is still there
    link_t in_talkers           # loop_t.talkers
    uint32_t interest           # epoll events asked for
    bint watched                # by epoll
    bint is_tcp
    bint talks                  # what it said last began with text, and not with a packet
    bint starved                # the system had no memory for the last call
    bint eof                    # the other side will say nothing more
    bint dead                   # to be freed at the end of the turn
    int64_t linger_until_ns     # when the wait for the other side's close is over

# A connection of a thread of this process, without a socket: its output is taken from peer.out. Owned by a Local.
ctypedef struct local_t:
    watch_t watch               # fd is -1
    link_t in_locals            # loop_t.locals
    peer_t* peer                # NULL once the loop has ended, or closed it
    pthread_cond_t changed      # there is output, or the end, or an interruption
    bint interrupted            # one that no wait has seen yet
    bint helped                 # the thread that waits for it turns the loop meanwhile, and sees for itself
    bint would_help             # it would, once the loop's thread is aside

# Owned by loop_t.listeners.
ctypedef struct listener_t:
    watch_t watch
    link_t in_listeners

ctypedef struct loop_t:
    state_t state
    inbox_t inbox
    handover_t handover         # to the thread that writes to the store
    watch_t inbox_watch
    int epoll_fd
    int spare_fd                # given up for a moment when descriptors run out, so that somebody can be told
    link_t listeners            # listener_t.in_listeners
    int64_t listen_again_ns     # when they are watched again; 0: they are
    link_t connections          # connection_t.in_connections
    link_t locals               # local_t.in_locals
    pthread_mutex_t lock        # of all of this and the state: held by who turns the loop, but while it waits
    pthread_cond_t aside        # where the loop's thread waits while another turns it
    bint is_aside               # it does
    bint helped                 # another turns it
    int64_t helped_ns           # until when another did, or wanted to
    uint32_t helpers            # threads that would, once the loop's thread is aside
    int64_t waits_until_ns      # till when who turns the loop waits; NEVER: without an end
    size_t connection_count
    size_t max_connections      # 0: no limit
    link_t unproven             # connection_t.in_unproven, first to be looked at first
    int64_t prove_every_ns      # 0: never
    int64_t user_timeout_ns     # how long a system may leave sent bytes unacknowledged
    link_t talkers              # connection_t.in_talkers: have spoken text
    link_t lingering            # connection_t.in_ending: said goodbye, waiting for the other side's
    link_t dead                 # connection_t.in_ending: freed at the end of the turn
    uint8_t* scratch            # SCRATCH bytes, for every read
    uint64_t turns
    int64_t began_ns            # when the last turn had waited; 0: none has
    uint64_t accepted
    uint64_t turned_away        # connections refused for want of descriptors or by the limit
    uint64_t memory_peak        # of state.memory since memory was last given back
    int64_t ahead_ns            # of the system's clocks; for tests, which need not wait then
    int64_t wall_ahead_ns       # of the monotonic clock is the wall clock, when it was last read
    int64_t wall_again_ns       # when that is to be done again
    bint starved                # the system had no memory for some connection in this turn
    bint asked                  # the inbox has requests
    bint stopping
    int64_t stop_at_ns          # when draining ends at the latest

cdef inline listener_t* listener_from_in_listeners(link_t* link) noexcept nogil:
    return <listener_t*>(<char*>link - <size_t>&(<listener_t*>NULL).in_listeners)

cdef inline local_t* local_from_in_locals(link_t* link) noexcept nogil:
    return <local_t*>(<char*>link - <size_t>&(<local_t*>NULL).in_locals)

cdef inline connection_t* connection_from_in_connections(link_t* link) noexcept nogil:
    return <connection_t*>(<char*>link - <size_t>&(<connection_t*>NULL).in_connections)

cdef inline connection_t* connection_from_in_unproven(link_t* link) noexcept nogil:
    return <connection_t*>(<char*>link - <size_t>&(<connection_t*>NULL).in_unproven)

cdef inline connection_t* connection_from_in_talkers(link_t* link) noexcept nogil:
    return <connection_t*>(<char*>link - <size_t>&(<connection_t*>NULL).in_talkers)

cdef inline connection_t* connection_from_in_ending(link_t* link) noexcept nogil:
    return <connection_t*>(<char*>link - <size_t>&(<connection_t*>NULL).in_ending)
