# SPDX-License-Identifier: MIT
"""The job server as a whole: begun, told the time, connected to, ended. What the room with the sockets needs is all here."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t

from fastgear.core.model cimport peer_t, settings_t, state_t

# `random` is 16 secret bytes. first_number must be above every number that this host's servers used before.
cdef void state_init(
    state_t* state, const settings_t* settings, const char* prefix, const char* version, const uint64_t* random,
    uint64_t first_number
) noexcept nogil
cdef void state_free(state_t* state) noexcept nogil

# Before anything is received in a turn, of whose costly work this is the beginning; then, after it, what is due is done.
cdef void state_set_time(state_t* state, int64_t now_ns, int64_t now_wall_ns) noexcept nogil
cdef void state_fire_due(state_t* state) noexcept nogil
# Before output is sent, after anything was received or disconnected; state_fire_due does it too.
cdef void state_settle(state_t* state) noexcept nogil
# Nanoseconds until something is due; -1: nothing is.
cdef int64_t state_next_due(const state_t* state) noexcept nogil

cdef peer_t* state_connect(state_t* state) noexcept nogil  # NULL: no memory
# The peer says and hears nothing new any more: its jobs go back in line, its waits are forgotten. What it has to read stays.
cdef void state_retire(state_t* state, peer_t* peer) noexcept nogil
# Nothing can be sent to it any more: what waits is dropped, and it gets no more jobs; what it has said is still taken.
cdef void peer_deafen(state_t* state, peer_t* peer) noexcept nogil
# The peer is gone: its jobs go back in line, its waits are forgotten, and it is freed.
cdef void state_disconnect(state_t* state, peer_t* peer) noexcept nogil

# Jobs that would still run by themselves: queued and running, not those of a later day.
cdef uint64_t state_work_left(const state_t* state) noexcept nogil
