# SPDX-License-Identifier: MIT
"""Where jobs stand: delayed, in line, or in a worker's hands. Every change of place goes through here."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t

from fastgear.base.heap cimport heap_entry_t
from fastgear.core.model cimport job_t, peer_t, state_t

cdef void queues_init(state_t* state) noexcept nogil
cdef void queues_free(state_t* state) noexcept nogil

# From nowhere to a place.
cdef void queue_back(state_t* state, job_t* job) noexcept nogil
cdef void queue_front(state_t* state, job_t* job) noexcept nogil
cdef int queue_later(state_t* state, job_t* job, int64_t due_wall_ns) noexcept nogil  # FG_OK or FG_ENOMEM
# Later if that is later; without memory for that now, rather too early than never.
cdef void queue_when_due(state_t* state, job_t* job, int64_t due_wall_ns) noexcept nogil

# The job that peer is to run next, out of the queue and into its hands; NULL when there is none.
cdef job_t* queue_take(state_t* state, peer_t* peer) noexcept nogil

# From wherever it stands to nowhere.
cdef void unplace(state_t* state, job_t* job) noexcept nogil

# Queue what is due.
cdef void queue_due(state_t* state) noexcept nogil

cdef inline job_t* job_from_timer(heap_entry_t* entry) noexcept nogil:
    return <job_t*>(<char*>entry - <size_t>&(<job_t*>NULL).timer)
