# SPDX-License-Identifier: MIT
"""The life of a job once it is in line: given out, answered for, given back, ended. Exactly one end per waiting client."""

from libc.stdint cimport uint64_t

from fastgear.base.blob cimport blob_t
from fastgear.core.model cimport job_t, peer_t, state_t
from fastgear.protocol.packet cimport packet_t

# Give peer its next job in the form that its grab asks for (GRAB_JOB, GRAB_JOB_UNIQ or GRAB_JOB_ALL). When there is none
# say NO_JOB, or let the grab wait where that was asked for.
cdef void assign_next(state_t* state, peer_t* peer, int grab) noexcept nogil
# Answer the grabs that wait and for which there are jobs now; before the output of a turn is sent.
cdef void assign_parked(state_t* state) noexcept nogil

# The workload of a job that a worker awaits, whose owner the job is from now on; NULL: the store does not have it.
cdef void assign_brought(state_t* state, uint64_t number, blob_t* blob) noexcept nogil
# The store is lost, and with it the workloads that are awaited.
cdef void assign_without_store(state_t* state) noexcept nogil

# Pass what a worker said of its job on to the clients that wait: same type, same bytes.
cdef void pass_on(state_t* state, job_t* job, const packet_t* packet) noexcept nogil

# WORK_COMPLETE: pass it on and forget the job.
cdef void end_completed(state_t* state, job_t* job, const packet_t* packet) noexcept nogil
# WORK_EXCEPTION: those who did not ask for exceptions get WORK_FAIL.
cdef void end_with_exception(state_t* state, job_t* job, const packet_t* packet) noexcept nogil
# WORK_FAIL to everyone who waits, and forget the job wherever it stands.
cdef void end_failed(state_t* state, job_t* job) noexcept nogil

# Its worker lost it: back in line, or its end when it was given out often enough or nobody wants it any more.
cdef void give_back(state_t* state, job_t* job) noexcept nogil
cdef void give_back_all(state_t* state, peer_t* peer) noexcept nogil

# A client leaves: its waits go, and with them the foreground jobs that nobody else waits for.
cdef void forget_waits(state_t* state, peer_t* peer) noexcept nogil

# The ability timeouts that have run out.
cdef void time_out_due(state_t* state) noexcept nogil
