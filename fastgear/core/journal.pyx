# SPDX-License-Identifier: MIT
"""Writing and reading the journal's records. When they leave, and what comes of it, is durable.pyx's business."""

from libc.string cimport memcpy, memset

from fastgear.base.blob cimport blob_t
from fastgear.base.buffer cimport (
    buffer_append, buffer_append_blob, buffer_commit, buffer_free, buffer_init, buffer_reserve, buffer_uncommit,
)
from fastgear.base.copy cimport copy_bytes
from fastgear.base.list cimport list_init
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.core.functions cimport function_name
from fastgear.core.jobs cimport job_reducer, job_unique, job_workload
from fastgear.core.model cimport STORE_LOST
from fastgear.protocol.encoder cimport slice_of

cdef enum:
    FUNCTION = 0
    UNIQUE = 1
    REDUCER = 2
    WORKLOAD = 3


cdef void batch_init(batch_t* batch) noexcept nogil:
    buffer_init(&batch.records, NULL)
    list_init(&batch.answers)
    batch.counted = 0


cdef inline void count(state_t* state, batch_t* batch, size_t length) noexcept nogil:
    """Large workloads are counted with their jobs."""
    state.memory += length
    batch.counted += length


cdef void batch_drop_records(state_t* state, batch_t* batch) noexcept nogil:
    buffer_free(&batch.records)
    state.memory -= batch.counted
    batch.counted = 0


# -- writing ----------------------------------------------------------------------------------------------------------

cdef inline void record_init(record_t* record, const state_t* state, const job_t* job, int kind) noexcept nogil:
    memset(record, 0, sizeof(record_t))
    record.kind = <uint8_t>kind
    record.number = job.in_jobs.hash
    record.attempts = job.attempts
    record.at_wall_ns = state.now_wall_ns


cdef inline uint8_t* put(uint8_t* to, slice_t part) noexcept nogil:
    copy_bytes(to, part.bytes, part.length)
    return to + part.length


cdef int journal_submitted(state_t* state, const job_t* job, int64_t due_wall_ns) noexcept nogil:
    """A large workload goes by reference: nobody changes a blob once it is a job's."""
    cdef record_t record
    cdef slice_t parts[4]
    parts[FUNCTION] = function_name(job.function)
    parts[UNIQUE], parts[REDUCER], parts[WORKLOAD] = job_unique(job), job_reducer(job), job_workload(job)
    record_init(&record, state, job, RECORD_SUBMITTED)
    record.due_wall_ns = due_wall_ns
    record.priority = job.priority
    record.has_reducer = job.has_reducer
    record.function_length = <uint16_t>parts[FUNCTION].length
    record.unique_length = <uint16_t>parts[UNIQUE].length
    record.reducer_length = <uint16_t>parts[REDUCER].length
    record.workload_length = parts[WORKLOAD].length
    return append_submitted(state, &record, parts, <blob_t*>job.blob)


cdef int append_submitted(state_t* state, const record_t* record, slice_t* parts, blob_t* blob) noexcept nogil:
    cdef batch_t* batch = &state.journal.filling
    cdef size_t length = sizeof(record_t) + parts[FUNCTION].length + parts[UNIQUE].length + parts[REDUCER].length
    cdef uint8_t* to
    if blob == NULL:
        length += parts[WORKLOAD].length
    to = buffer_reserve(&batch.records, length)
    if to == NULL:
        return FG_ENOMEM
    memcpy(to, record, sizeof(record_t))
    to = put(put(put(to + sizeof(record_t), parts[FUNCTION]), parts[UNIQUE]), parts[REDUCER])
    if blob == NULL:
        put(to, parts[WORKLOAD])
    buffer_commit(&batch.records, length)
    if blob != NULL and buffer_append_blob(&batch.records, blob, 0, blob.length) != FG_OK:
        buffer_uncommit(&batch.records, length)
        return FG_ENOMEM
    count(state, batch, length)
    return FG_OK


cdef int append(state_t* state, const job_t* job, int kind) noexcept nogil:
    """Nothing is written any more once the store is lost."""
    cdef record_t record
    if state.journal.store == STORE_LOST:
        return FG_OK
    record_init(&record, state, job, kind)
    return append_bare(state, &state.journal.filling, &record)


cdef int append_bare(state_t* state, batch_t* batch, const record_t* record) noexcept nogil:
    cdef int status = buffer_append(&batch.records, record, sizeof(record_t))
    if status == FG_OK:
        count(state, batch, sizeof(record_t))
    return status


cdef void journal_attempt(state_t* state, const job_t* job) noexcept nogil:
    append(state, job, RECORD_ATTEMPT)


cdef void journal_ended(state_t* state, const job_t* job) noexcept nogil:
    append(state, job, RECORD_ENDED)


cdef void journal_dead(state_t* state, const job_t* job) noexcept nogil:
    append(state, job, RECORD_DEAD)


cdef int journal_wanted(state_t* state, const job_t* job) noexcept nogil:
    return append(state, job, RECORD_WANTED)


cdef void journal_take_back(state_t* state, batch_t* batch) noexcept nogil:
    """Each submission becomes an end; the other changes have to reach the store some day."""
    cdef buffer_t all = batch.records
    cdef reader_t reader
    cdef record_t record
    cdef slice_t parts[4]
    buffer_init(&batch.records, NULL)
    batch_drop_records(state, batch)
    records_begin(&all, &reader)
    while records_next(&reader, &record, parts):
        if record.kind == RECORD_SUBMITTED:
            record.kind = RECORD_ENDED
            record.function_length = record.unique_length = record.reducer_length = 0
            record.workload_length = 0
        append_bare(state, batch, &record)
    buffer_free(&all)


# -- reading ----------------------------------------------------------------------------------------------------------

cdef void records_begin(const buffer_t* records, reader_t* reader) noexcept nogil:
    reader.piece = records.first
    reader.at = records.first.start if records.first != NULL else 0


cdef inline slice_t take(reader_t* reader, size_t length) noexcept nogil:
    reader.at += length
    return slice_of(reader.piece.bytes + reader.at - length, length)


cdef bint records_next(reader_t* reader, record_t* record, slice_t* parts) noexcept nogil:
    """A record and its parts lie in one piece, but for a large workload, which is the next piece."""
    while reader.piece != NULL and reader.at == reader.piece.end:
        go_on(reader)
    if reader.piece == NULL:
        return False
    memcpy(record, reader.piece.bytes + reader.at, sizeof(record_t))
    reader.at += sizeof(record_t)
    parts[FUNCTION] = take(reader, record.function_length)
    parts[UNIQUE] = take(reader, record.unique_length)
    parts[REDUCER] = take(reader, record.reducer_length)
    if record.workload_length > 0 and reader.at == reader.piece.end:
        go_on(reader)
        parts[WORKLOAD] = slice_of(reader.piece.blob.bytes, record.workload_length)
        reader.at = reader.piece.end
    else:
        parts[WORKLOAD] = take(reader, <size_t>record.workload_length)
    return True


cdef inline void go_on(reader_t* reader) noexcept nogil:
    reader.piece = reader.piece.next
    reader.at = reader.piece.start if reader.piece != NULL else 0
