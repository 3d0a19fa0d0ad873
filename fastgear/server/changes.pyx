# SPDX-License-Identifier: MIT
"""The journal's records as Python objects, for the thread that writes to the store; and stored jobs back into the core."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint64_t

from fastgear.base.blob cimport blob_copy, blob_release, blob_t
from fastgear.base.buffer cimport buffer_t
from fastgear.base.status cimport FG_OK
from fastgear.core cimport durable
from fastgear.core.functions cimport function_find_or_create
from fastgear.core.jobs cimport order_set_key, order_t
from fastgear.core.journal cimport (
    RECORD_ATTEMPT, RECORD_DEAD, RECORD_ENDED, RECORD_SUBMITTED, RECORD_WANTED, reader_t, record_t, records_begin,
    records_next,
)
from fastgear.core.model cimport LARGE_PACKET, MAX_FUNCTION_NAME, MAX_UNIQUE, PRIORITIES
from fastgear.protocol.encoder cimport slice_of
from fastgear.protocol.packet cimport slice_t
from fastgear.server.handover cimport handover_answer, handover_bring, handover_take
from fastgear.server.inbox cimport inbox_wake
from fastgear.server.loop cimport Loop
from fastgear.storage.store import Batch

WRITTEN = durable.WRITTEN
FAILED = durable.FAILED
FAILED_FOR_GOOD = durable.FAILED_FOR_GOOD
REFUSING = durable.REFUSING
LOST = "its worker was lost, or the server ended under it, {} times in all"


# -- out --------------------------------------------------------------------------------------------------------------

def take_changes(Loop loop not None):
    cdef const buffer_t* records
    with nogil:
        records = handover_take(&loop.loop.handover)
    return read_changes(records) if records != NULL else None


def answer_changes(Loop loop not None, int outcome, str complaint not None):
    cdef bytes text = complaint.encode(errors="replace")
    handover_answer(&loop.loop.handover, outcome, text)
    inbox_wake(&loop.loop.inbox)


def bring_workload(Loop loop not None, uint64_t number, bytes workload):
    cdef slice_t bytes_there
    cdef blob_t* blob = NULL
    if workload is not None:
        bytes_there = slice_from(workload)
        blob = blob_copy(bytes_there.bytes, bytes_there.length)
        if blob == NULL:
            raise MemoryError()
    if handover_bring(&loop.loop.handover, number, blob) != FG_OK:
        if blob != NULL:
            blob_release(blob)
        raise MemoryError()


cdef inline bytes bytes_of(slice_t part):
    return PyBytes_FromStringAndSize(<const char*>part.bytes, part.length)


cdef tuple submitted_of(const record_t* record, const slice_t* parts):
    return (
        record.number, bytes_of(parts[0]), bytes_of(parts[1]), bytes_of(parts[2]) if record.has_reducer else None,
        bytes_of(parts[3]), record.priority, record.due_wall_ns, record.attempts, record.at_wall_ns,
    )


cdef tuple read_changes(const buffer_t* records):
    """Of the attempts of a job the last one counts, and none where its end is here too.

    An end comes before the submission of the same job only where that was taken back after a failure and made again.
    """
    cdef list submitted = [], dead = [], wanted = []
    cdef dict attempts = {}, ended = {}
    cdef reader_t reader
    cdef record_t record
    cdef slice_t parts[4]
    records_begin(records, &reader)
    while records_next(&reader, &record, parts):
        if record.kind == RECORD_SUBMITTED:
            submitted.append(submitted_of(&record, parts))
            ended.pop(record.number, None)
        elif record.kind == RECORD_ATTEMPT:
            attempts[record.number] = record.attempts
        elif record.kind == RECORD_ENDED:
            ended[record.number] = None
            attempts.pop(record.number, None)
        elif record.kind == RECORD_DEAD:
            dead.append((record.number, LOST.format(record.attempts), record.at_wall_ns))
        elif record.kind == RECORD_WANTED:
            wanted.append(record.number)
    counted = [(count, number) for number, count in attempts.items()]
    return Batch(submitted, counted, dead, list(ended)), [number for number in wanted if number not in ended]


# -- in ---------------------------------------------------------------------------------------------------------------

def restore(Loop loop not None, jobs):
    cdef list impossible = []
    cdef tuple row
    for job in jobs:
        if not isinstance(job, tuple):
            raise TypeError(f"{job!r} is no stored job")
        row = <tuple>job  # as which a named one is read much sooner
        try:
            check(row)
        except (TypeError, ValueError, OverflowError) as error:
            impossible.append((row[0], f"no server can serve it: {error}"))
            continue
        restore_one(loop, row)
    return impossible


cdef int check(tuple job) except -1:
    """What comes from a file may be anything."""
    cdef bytes function = job[1], unique = job[2], reducer = job[3]
    cdef long long number = job[0], priority = job[5], due_ns = job[6], attempts = job[7]
    if job[4] is not None and not isinstance(job[4], bytes):
        raise TypeError("its workload is no bytes")
    if number <= 0 or not 0 <= priority < PRIORITIES or not 0 <= attempts <= 0xFFFF or due_ns < 0:
        raise ValueError("its number, priority, time or count of attempts is impossible")
    if not 0 < len(function) <= MAX_FUNCTION_NAME or b"\0" in function:
        raise ValueError(f"its function's name has {len(function)} bytes, of 1 to {MAX_FUNCTION_NAME}, and none may be NUL")
    if len(unique) > MAX_UNIQUE or b"\0" in unique:
        raise ValueError(f"its unique has {len(unique)} bytes, of {MAX_UNIQUE} at most, and none may be NUL")
    if reducer is not None and (len(reducer) > MAX_FUNCTION_NAME or b"\0" in reducer):
        raise ValueError(f"its reducer has {len(reducer)} bytes, of {MAX_FUNCTION_NAME} at most, and none may be NUL")
    return 0


cdef inline slice_t slice_from(bytes part):
    return slice_of(PyBytes_AS_STRING(part), len(part))


cdef int restore_one(Loop loop, tuple job) except -1:
    """A large workload is in a blob, as it is where one arrives."""
    cdef order_t order
    cdef int status
    cdef bytes reducer = job[3], workload = job[4] if job[4] is not None else b""
    order.function = function_find_or_create(&loop.loop.state, slice_from(job[1]))
    order.unique = slice_from(job[2])
    order.has_reducer = reducer is not None
    order.reducer = slice_from(reducer) if reducer is not None else slice_of(NULL, 0)
    order.workload = slice_from(workload)
    order.priority = <uint8_t>job[5]
    order.background = True
    order.blob = blob_copy(order.workload.bytes, order.workload.length) if len(workload) > LARGE_PACKET else NULL
    if order.function == NULL or (order.blob == NULL and len(workload) > LARGE_PACKET):
        raise MemoryError()
    order_set_key(&loop.loop.state, &order)
    status = durable.durable_restore(&loop.loop.state, &order, job[0], <uint16_t>job[7], job[6], job[4] is None)
    if order.blob != NULL:
        blob_release(order.blob)
    if status != FG_OK:
        raise MemoryError()
    return 0
