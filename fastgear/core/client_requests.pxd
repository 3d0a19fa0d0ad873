# SPDX-License-Identifier: MIT
"""What clients ask for: one handler per kind of request."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from fastgear.core.model cimport peer_t, state_t
from fastgear.protocol.packet cimport packet_t

cdef void on_submit_job(
    state_t* state, peer_t* peer, const packet_t* packet, int priority, bint background
) noexcept nogil
cdef void on_submit_job_epoch(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
cdef void on_submit_job_sched(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
cdef void on_submit_reduce_job(state_t* state, peer_t* peer, const packet_t* packet, bint background) noexcept nogil
cdef void on_get_status(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
cdef void on_get_status_unique(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil

# If what comes next is a submission, let what it will look for come from memory while something else is done.
cdef void expect_submission(state_t* state, const uint8_t* bytes, size_t available) noexcept nogil
