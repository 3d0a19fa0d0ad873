# SPDX-License-Identifier: MIT
"""Requests of clients: submissions of every kind, and questions about jobs."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from fastgear.base.blob cimport blob_copy, blob_release
from fastgear.base.digits cimport MAX_DIGITS, digits_write
from fastgear.base.status cimport FG_OK
from fastgear.core.durable cimport durable_complaint, durable_join, durable_submit
from fastgear.core.flow cimport memory_is_short
from fastgear.core.functions cimport function_find, function_find_or_create, function_total
from fastgear.core.jobs cimport (
    handle_slice, handle_t, job_by_handle, job_by_order, job_by_unique, job_expect, job_free, job_handle, job_new, order_set_key,
    order_t, wait_add,
)
from fastgear.core.journal cimport journal_is_open
from fastgear.core.model cimport JOB_RUNNING, MAX_FUNCTION_NAME, MAX_UNIQUE, NORMAL, STORED_SAFELY, function_t, job_t
from fastgear.core.peers cimport send_error, send_parts
from fastgear.core.queues cimport queue_back, queue_later
from fastgear.core.schedule cimport schedule_next, schedule_read, schedule_t
from fastgear.protocol.encoder cimport slice_of
from fastgear.protocol.packet cimport HEADER_SIZE, PacketType, packet_read, packet_size, slice_t
from fastgear.protocol.text cimport parse_i64

cdef enum:
    NS_PER_S = 1000000000
    APART = 256                 # bytes from which on it is worth it
    MAX_EPOCH_S = 9000000000    # the year 2255; nanoseconds of it still fit

cdef const char* NO_SCHEDULE = "A schedule is minute, hour, day, month and weekday (0 is Monday), empty for any"


# -- submissions ------------------------------------------------------------------------------------------------------

cdef void on_submit_job(
    state_t* state, peer_t* peer, const packet_t* packet, int priority, bint background
) noexcept nogil:
    cdef order_t order
    if read_order(state, peer, packet, &order):
        order.priority = <uint8_t>priority
        order.background = background
        submit(state, peer, &order, 0)


cdef void on_submit_job_epoch(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    cdef order_t order
    cdef long long epoch_s
    if not parse_i64(packet.args[2], &epoch_s) or epoch_s < 0 or epoch_s > <long long>MAX_EPOCH_S:
        send_error(state, peer, "INVALID_ARGUMENT", "The time of an epoch job is a number of seconds since 1970")
        return
    if read_order(state, peer, packet, &order):
        order.background = True
        submit(state, peer, &order, epoch_s * NS_PER_S)


cdef void on_submit_job_sched(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    """One job, at the next time that fits: the document has "run job at given time", not again and again."""
    cdef order_t order
    cdef schedule_t schedule
    cdef int64_t due_s = -1
    if schedule_read(&packet.args[2], &schedule):
        due_s = schedule_next(&schedule, state.now_wall_ns // NS_PER_S)
    if due_s < 0:
        send_error(state, peer, "INVALID_ARGUMENT", NO_SCHEDULE)
        return
    if read_order(state, peer, packet, &order):
        order.background = True
        submit(state, peer, &order, due_s * NS_PER_S)


cdef void on_submit_reduce_job(state_t* state, peer_t* peer, const packet_t* packet, bint background) noexcept nogil:
    """The fourth argument, the aggregator, is accepted and not kept: JOB_ASSIGN_ALL has no place for it."""
    cdef order_t order
    if packet.args[2].length > MAX_FUNCTION_NAME:
        send_error(state, peer, "ARGUMENT_TOO_LARGE", "Reducer value too large")
        return
    if read_order(state, peer, packet, &order):
        order.background = background
        order.has_reducer = True
        order.reducer = packet.args[2]
        submit(state, peer, &order, 0)


cdef bint read_order(state_t* state, peer_t* peer, const packet_t* packet, order_t* order) noexcept nogil:
    """What all submissions share. False: refused, and the client knows why."""
    cdef slice_t name = packet.args[0]
    if state.draining:
        return refuse(state, peer, "SHUTDOWN_GRACEFUL", "The server is shutting down and takes no new jobs")
    if name.length == 0:
        return refuse(state, peer, "INVALID_FUNCTION_NAME", "A function needs a name")
    if name.length > MAX_FUNCTION_NAME:
        return refuse(state, peer, "ARGUMENT_TOO_LARGE", "Function name too large")
    if packet.args[1].length > MAX_UNIQUE:
        return refuse(state, peer, "ARGUMENT_TOO_LARGE", "Unique value too large")
    order.function = function_find_or_create(state, name)
    if order.function == NULL:
        return refuse(state, peer, "MEMORY_ALLOCATION_FAILURE", "The server is out of memory")
    order.unique = packet.args[1]
    order.reducer = slice_of(NULL, 0)
    order.workload = packet.data
    order.blob = packet.blob
    order.priority = NORMAL
    order.background = False
    order.has_reducer = False
    order_set_key(state, order)
    return True


cdef void expect_submission(state_t* state, const uint8_t* bytes, size_t available) noexcept nogil:
    """To handle one takes less time than memory takes to come, so where there are two, the second: the first was it before."""
    cdef packet_t packet
    cdef function_t* function
    cdef size_t first = packet_size(bytes) if available >= HEADER_SIZE else 0
    if available > first:
        bytes += first
        available -= first
    if available < HEADER_SIZE or not is_submission(bytes[7]) or packet_read(bytes, available, &packet) != FG_OK:
        return
    function = function_find(state, packet.args[0])
    if function != NULL:
        job_expect(state, function, packet.args[1])


cdef inline bint is_submission(int type) noexcept nogil:
    return (
        type == PacketType.SUBMIT_JOB_BG or type == PacketType.SUBMIT_JOB or type == PacketType.SUBMIT_JOB_HIGH
        or type == PacketType.SUBMIT_JOB_LOW or type == PacketType.SUBMIT_JOB_HIGH_BG
        or type == PacketType.SUBMIT_JOB_LOW_BG
    )


cdef bint refuse(state_t* state, peer_t* peer, const char* code, const char* text) noexcept nogil:
    send_error(state, peer, code, text)
    return False


cdef void submit(state_t* state, peer_t* peer, const order_t* order, int64_t due_wall_ns) noexcept nogil:
    """Join the job that it is the same as, or make one. The answer leaves before the job moves on."""
    cdef job_t* job = job_by_order(state, order)
    if job != NULL:
        join(state, peer, job, order)
        return
    if not has_room(state, peer, order):
        return
    job = make_job(state, order)
    if job == NULL:
        send_error(state, peer, "MEMORY_ALLOCATION_FAILURE", "The server is out of memory")
        return
    if order.background and journal_is_open(state):
        if durable_submit(state, peer, job, due_wall_ns) != FG_OK:
            job_free(state, job)
            send_error(state, peer, "MEMORY_ALLOCATION_FAILURE", "The server is out of memory")
        return
    if due_wall_ns > state.now_wall_ns and queue_later(state, job, due_wall_ns) != FG_OK:
        job_free(state, job)
        send_error(state, peer, "MEMORY_ALLOCATION_FAILURE", "The server is out of memory")
        return
    if not order.background and wait_add(state, job, peer) != FG_OK:
        job_free(state, job)
        send_error(state, peer, "MEMORY_ALLOCATION_FAILURE", "The server is out of memory")
        return
    send_created(state, peer, job)
    if due_wall_ns <= state.now_wall_ns:
        queue_back(state, job)


cdef job_t* make_job(state_t* state, const order_t* order) noexcept nogil:
    """A workload that may have to leave memory, once it is stored, is kept apart."""
    cdef order_t apart = order[0]
    cdef job_t* job
    if not order.background or order.blob != NULL or state.settings.store_memory == 0 or order.workload.length < APART:
        return job_new(state, order)
    apart.blob = blob_copy(order.workload.bytes, order.workload.length)
    if apart.blob == NULL:
        return NULL
    job = job_new(state, &apart)
    blob_release(apart.blob)
    return job


cdef void join(state_t* state, peer_t* peer, job_t* job, const order_t* order) noexcept nogil:
    if memory_is_short(state, 0):
        refuse(state, peer, "QUEUE_ERROR", "The server's memory limit is reached")
        return
    if order.background and journal_is_open(state) and job.stored != STORED_SAFELY:
        join_durably(state, peer, job)
        return
    if not order.background and wait_add(state, job, peer) != FG_OK:
        send_error(state, peer, "MEMORY_ALLOCATION_FAILURE", "The server is out of memory")
        return
    if order.background:
        job.background = True
    state.counters.coalesced += 1
    send_created(state, peer, job)


cdef void join_durably(state_t* state, peer_t* peer, job_t* job) noexcept nogil:
    """A foreground job that becomes a background job is to be stored; one that is about to be stored is waited for."""
    cdef const char* complaint = durable_complaint(state)
    if complaint != NULL:
        refuse(state, peer, "QUEUE_ERROR", complaint)
    elif durable_join(state, peer, job) != FG_OK:
        refuse(state, peer, "MEMORY_ALLOCATION_FAILURE", "The server is out of memory")
    else:
        job.background = True
        state.counters.coalesced += 1


cdef bint has_room(state_t* state, peer_t* peer, const order_t* order) noexcept nogil:
    """gearmand compares the limit of a priority with all jobs of the function; so does this."""
    cdef function_t* function = order.function
    cdef int64_t limit = function.max_queue[order.priority]
    cdef const char* complaint
    if limit > 0 and function_total(function) >= <uint64_t>limit:
        return refuse(state, peer, "QUEUE_ERROR", "Job queue is full")
    if memory_is_short(state, order.workload.length):
        return refuse(state, peer, "QUEUE_ERROR", "The server's memory limit is reached")
    complaint = durable_complaint(state) if order.background else NULL
    if complaint != NULL:
        return refuse(state, peer, "QUEUE_ERROR", complaint)
    return True


cdef void send_created(state_t* state, peer_t* peer, const job_t* job) noexcept nogil:
    cdef handle_t handle
    cdef slice_t part
    job_handle(state, job, &handle)
    part = handle_slice(&handle)
    state.counters.submitted += 1
    send_parts(state, peer, PacketType.JOB_CREATED, &part, 1)


# -- questions --------------------------------------------------------------------------------------------------------

ctypedef struct status_t:       # the numbers of a job as text; the slices point into digits
    uint8_t digits[3][MAX_DIGITS]
    slice_t known
    slice_t running
    slice_t numerator
    slice_t denominator
    slice_t clients


cdef inline slice_t flag(bint value) noexcept nogil:
    return slice_of(<const char*>"1" if value else <const char*>"0", 1)


cdef inline slice_t digits_of(uint8_t* room, uint64_t number) noexcept nogil:
    return slice_of(room, digits_write(room, number))


cdef void status_of(const job_t* job, status_t* status) noexcept nogil:
    status.known = flag(job != NULL)
    status.running = flag(job != NULL and job.place == JOB_RUNNING)
    status.numerator = digits_of(status.digits[0], job.numerator if job != NULL else 0)
    status.denominator = digits_of(status.digits[1], job.denominator if job != NULL else 0)
    status.clients = digits_of(status.digits[2], job.waiting if job != NULL else 0)


cdef void on_get_status(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    cdef status_t status
    cdef slice_t parts[5]
    status_of(job_by_handle(state, packet.args[0]), &status)
    parts[0] = packet.args[0]
    parts[1], parts[2] = status.known, status.running
    parts[3], parts[4] = status.numerator, status.denominator
    send_parts(state, peer, PacketType.STATUS_RES, parts, 5)


cdef void on_get_status_unique(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    cdef status_t status
    cdef slice_t parts[6]
    status_of(job_by_unique(state, NULL, packet.args[0]), &status)
    parts[0] = packet.args[0]
    parts[1], parts[2] = status.known, status.running
    parts[3], parts[4], parts[5] = status.numerator, status.denominator, status.clients
    send_parts(state, peer, PacketType.STATUS_RES_UNIQUE, parts, 6)
