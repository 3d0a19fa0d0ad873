# SPDX-License-Identifier: MIT
"""Durable jobs: a background job, where there is a store, is acknowledged and given out once the store has it.

Until then its JOB_CREATED waits, and so does everything else that its client would hear after it. The store itself is
written by another thread: the room with the loop takes a batch to it, and brings back how it went.
"""

from libc.stdint cimport int64_t, uint16_t, uint64_t

from fastgear.core.jobs cimport order_t
from fastgear.core.model cimport batch_t, job_t, peer_t, state_t

cdef enum:                      # how it went
    WRITTEN = 0
    FAILED = 1                  # nothing of it is there, or all; it may be tried again
    FAILED_FOR_GOOD = 2
    REFUSING = 3                # it is written, but there is no room for new jobs; to be asked again

cdef void durable_init(state_t* state) noexcept nogil
cdef void durable_free(state_t* state) noexcept nogil

# -- for the requests -----------------------------------------------------------------------------------------------

# NULL when a durable job can be taken now, or why not.
cdef const char* durable_complaint(const state_t* state) noexcept nogil
# A new job, which stands nowhere yet: it is put into its place once it is stored. FG_OK or FG_ENOMEM.
cdef int durable_submit(state_t* state, peer_t* peer, job_t* job, int64_t due_wall_ns) noexcept nogil
# A job that stands somewhere has become a background job, or is one: likewise, but for the place.
cdef int durable_join(state_t* state, peer_t* peer, job_t* job) noexcept nogil
# A peer that hears nothing any more: it gets no answers, and what waits behind them is dropped.
cdef void durable_forget(state_t* state, peer_t* peer) noexcept nogil

# -- for the room with the loop -------------------------------------------------------------------------------------

# What is to be written now; it stays untouched until durable_written. NULL: nothing, or something is being written.
# In trouble it may be empty: has that passed?
cdef batch_t* durable_hand_over(state_t* state) noexcept nogil
cdef void durable_written(state_t* state, int outcome, const char* complaint) noexcept nogil
# Go on with the answers to a batch that was written, until the turn has had its share.
cdef void durable_go_on(state_t* state) noexcept nogil
# Whether there is something to do for durable_go_on.
cdef bint durable_is_behind(const state_t* state) noexcept nogil
# Whether all is written, as far as it ever will be.
cdef bint durable_is_done(const state_t* state) noexcept nogil

# A job of an earlier life, with its old number, due at some time or at once (0); `away` says that its workload was not read.
# FG_OK or FG_ENOMEM.
cdef int durable_restore(
    state_t* state, const order_t* order, uint64_t number, uint16_t attempts, int64_t due_wall_ns, bint away
) noexcept nogil
# At a stop in good order: the jobs that are running were not lost by their workers.
cdef void durable_uncount(state_t* state) noexcept nogil
