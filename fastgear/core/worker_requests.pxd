# SPDX-License-Identifier: MIT
"""What workers ask for and report: one handler per kind of request."""

from fastgear.core.model cimport peer_t, state_t
from fastgear.protocol.packet cimport packet_t, slice_t

cdef void on_can_do(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
cdef void on_can_do_timeout(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
cdef void on_cant_do(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
cdef void on_reset_abilities(state_t* state, peer_t* peer) noexcept nogil
cdef void on_pre_sleep(state_t* state, peer_t* peer) noexcept nogil
cdef void on_grab_job(state_t* state, peer_t* peer, int type) noexcept nogil
cdef void on_work_status(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
cdef void on_work_data(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil  # WORK_WARNING too
cdef void on_work_complete(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
cdef void on_work_fail(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
cdef void on_work_exception(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
# A report that cannot be taken: its job fails, or its clients would wait for ever.
cdef void refuse_report(state_t* state, peer_t* peer, slice_t handle) noexcept nogil
cdef const char* no_such_job(int type) noexcept nogil  # what a report is told whose job is not this worker's
cdef bint is_own_job(state_t* state, peer_t* peer, slice_t handle) noexcept nogil
