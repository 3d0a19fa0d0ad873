# SPDX-License-Identifier: MIT
"""The loop's own data: what is watched, what ends, when it stops."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint64_t

from fastgear.base.list cimport link_t
from fastgear.core.model cimport state_t
from fastgear.server.connection cimport watch_t
from fastgear.server.inbox cimport inbox_t

# Owned by loop_t.listeners.
ctypedef struct listener_t:
    watch_t watch
    link_t in_listeners

ctypedef struct loop_t:
    state_t state
    inbox_t inbox
    watch_t inbox_watch
    int epoll_fd
    int spare_fd                # given up for a moment when descriptors run out, so that somebody can be told
    link_t listeners            # listener_t.in_listeners
    link_t connections          # connection_t.in_connections
    size_t connection_count
    size_t max_connections      # 0: no limit
    size_t read_below           # unsent output of a connection at which it is no longer read
    link_t lingering            # connection_t.in_ending: said goodbye, waiting for the other side's
    link_t dead                 # connection_t.in_ending: freed at the end of the turn
    uint8_t* scratch            # SCRATCH bytes, for every read
    uint64_t turns
    uint64_t accepted
    uint64_t turned_away        # connections refused for want of descriptors or by the limit
    uint64_t memory_peak        # of state.memory since memory was last given back
    bint asked                  # the inbox has requests
    bint stopping
    int64_t stop_at_ns          # when draining ends at the latest

cdef class Loop:
    cdef loop_t loop
    cdef bytes verbose          # settings.verbose points into it
    cdef bint has_state         # loop.state was made
    cdef int open_descriptors(self) except -1
