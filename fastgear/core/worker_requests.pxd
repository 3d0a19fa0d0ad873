# SPDX-License-Identifier: MIT
"""What workers ask for and report: one handler per kind of request."""

from fastgear.core.model cimport peer_t, state_t
from fastgear.protocol.packet cimport packet_t

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
# A packet that cannot be taken; where it is a report its job fails, or its clients would wait for ever.
cdef void refuse_report(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil
