# SPDX-License-Identifier: MIT
"""The journal: changes of durable jobs, as records in the order in which they happened, for a store to keep.

A record is a record_t and the bytes that it announces, copied, so that another thread can read them while jobs come and go.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from fastgear.base.buffer cimport buffer_t, piece_t
from fastgear.core.model cimport STORE_NONE, batch_t, job_t, state_t
from fastgear.protocol.packet cimport slice_t

cdef enum:                      # what happened
    RECORD_SUBMITTED = 1        # all of the job follows
    RECORD_ATTEMPT = 2          # it was given out; `attempts` times by now
    RECORD_ENDED = 3
    RECORD_DEAD = 4             # it was put aside after `attempts` of them
    RECORD_WANTED = 5           # no change: its workload is to be brought

ctypedef struct record_t:
    uint64_t number             # of the job
    int64_t at_wall_ns
    int64_t due_wall_ns         # 0: at once
    uint64_t workload_length
    uint16_t function_length
    uint16_t unique_length
    uint16_t reducer_length
    uint16_t attempts
    uint8_t kind                # RECORD_...
    uint8_t priority
    uint8_t has_reducer

# A place between two records.
ctypedef struct reader_t:
    piece_t* piece
    size_t at

cdef void batch_init(batch_t* batch) noexcept nogil
cdef void batch_drop_records(state_t* state, batch_t* batch) noexcept nogil

# Of a job that is due at some time, or at once (0). FG_OK or FG_ENOMEM.
cdef int journal_submitted(state_t* state, const job_t* job, int64_t due_wall_ns) noexcept nogil
# Where there is no memory for these, the job may run once more than it should after a crash.
cdef void journal_attempt(state_t* state, const job_t* job) noexcept nogil
cdef void journal_ended(state_t* state, const job_t* job) noexcept nogil
cdef void journal_dead(state_t* state, const job_t* job) noexcept nogil
cdef int journal_wanted(state_t* state, const job_t* job) noexcept nogil  # FG_OK or FG_ENOMEM

# The store has failed: what it was to take with this batch is to be forgotten, should some of it have got there after all.
cdef void journal_take_back(state_t* state, batch_t* batch) noexcept nogil

cdef void records_begin(const buffer_t* records, reader_t* reader) noexcept nogil
# False: there are no more. `parts` are function, unique, reducer and workload.
cdef bint records_next(reader_t* reader, record_t* record, slice_t* parts) noexcept nogil

cdef inline bint journal_is_open(const state_t* state) noexcept nogil:
    return state.journal.store != STORE_NONE
