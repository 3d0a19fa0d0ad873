# SPDX-License-Identifier: MIT
"""The records of jobs: one allocation each, found by number and by (function, unique).

A key is what makes two submissions one job: the unique, or for the unique "-" the workload itself; an empty unique, and
"-" with an empty workload, is no key. `state.memory` counts what is allocated here.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from fastgear.base.blob cimport blob_hold, blob_release
from fastgear.base.check cimport fg_check
from fastgear.base.copy cimport copy_bytes
from fastgear.base.digits cimport DIGITS_EIGHT, digits_read, digits_read_eight, digits_write, digits_write_eight
from fastgear.base.hash cimport hash_bytes, hash_u64
from fastgear.base.heap cimport heap_contains
from fastgear.base.index cimport (
    index_cursor_t, index_first, index_free, index_init, index_insert, index_next, index_prefetch, index_remove,
)
from fastgear.base.list cimport link_init, link_is_linked, link_remove, list_first, list_init, list_push_back
from fastgear.base.slab cimport slabs_free, slabs_give, slabs_init, slabs_take
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.base.table cimport (
    table_begin, table_cursor_t, table_each, table_first, table_free, table_init, table_insert, table_node_t, table_remove,
)
from fastgear.core.journal cimport journal_ended
from fastgear.core.model cimport STORED_NOT
from fastgear.protocol.encoder cimport slice_of


cdef void jobs_init(state_t* state) noexcept nogil:
    slabs_init(&state.slabs)
    table_init(&state.jobs)
    index_init(&state.uniques)


cdef void jobs_free(state_t* state) noexcept nogil:
    """Free every job wherever it stands; only when the whole state goes."""
    cdef table_cursor_t cursor = table_begin()
    cdef table_node_t* node
    cdef table_node_t* later
    cdef job_t* job
    index_free(&state.uniques)
    node = table_each(&state.jobs, &cursor)
    while node != NULL:
        job = <job_t*>node
        later = table_each(&state.jobs, &cursor)
        release(state, job)
        node = later
    table_free(&state.jobs)
    slabs_free(&state.slabs)


cdef inline bint is_dash(slice_t unique) noexcept nogil:
    return unique.length == 1 and unique.bytes[0] == 45


cdef inline bint slices_equal(slice_t a, slice_t b) noexcept nogil:
    return a.length == b.length and (a.length == 0 or memcmp(a.bytes, b.bytes, a.length) == 0)


cdef inline uint64_t hash_key(const state_t* state, const function_t* function, slice_t unique, slice_t workload) noexcept nogil:
    """Of the key; the function comes in by its id, and keys by workload keep away from the others."""
    cdef slice_t key = workload if is_dash(unique) else unique
    cdef uint64_t hash = hash_bytes(key.bytes, key.length, state.hash_key[0], state.hash_key[1] ^ hash_u64(function.id))
    return ~hash if is_dash(unique) else hash


cdef inline bint makes_key(slice_t unique, slice_t workload) noexcept nogil:
    return workload.length > 0 if is_dash(unique) else unique.length > 0


cdef void order_set_key(state_t* state, order_t* order) noexcept nogil:
    order.has_key = makes_key(order.unique, order.workload)
    order.key_hash = hash_key(state, order.function, order.unique, order.workload) if order.has_key else 0


cdef void job_expect(state_t* state, function_t* function, slice_t unique) noexcept nogil:
    if unique.length > 0 and not is_dash(unique):
        index_prefetch(&state.uniques, hash_key(state, function, unique, unique))


cdef inline size_t size_of(size_t tail) noexcept nogil:
    return sizeof(job_t) + tail


cdef job_t* allocate(state_t* state, const order_t* order) noexcept nogil:
    """With unique, reducer and a small workload copied behind the struct, and a large one held."""
    cdef size_t inside = 0 if order.blob != NULL else order.workload.length
    cdef job_t* job = <job_t*>slabs_take(
        &state.slabs, size_of(order.unique.length + order.reducer.length + inside)
    )
    cdef uint8_t* to
    if job == NULL:
        return NULL
    to = job.bytes
    copy_bytes(to, order.unique.bytes, order.unique.length)
    to += order.unique.length
    copy_bytes(to, order.reducer.bytes, order.reducer.length)
    to += order.reducer.length
    copy_bytes(to, order.workload.bytes, inside)
    job.unique_length = <uint16_t>order.unique.length
    job.reducer_length = <uint16_t>order.reducer.length
    job.workload_length = <uint32_t>inside
    job.blob = order.blob
    if job.blob != NULL:
        blob_hold(job.blob)
    return job


cdef inline size_t own_size(const job_t* job) noexcept nogil:
    return size_of(<size_t>job.unique_length + job.reducer_length + job.workload_length)


cdef inline uint64_t weight(const job_t* job) noexcept nogil:
    """Bytes of memory that it stands for."""
    cdef uint64_t bytes = own_size(job)
    return bytes + job.blob.capacity if job.blob != NULL else bytes


cdef job_t* job_new(state_t* state, const order_t* order) noexcept nogil:
    cdef job_t* job = job_new_numbered(state, order, state.next_number)
    if job != NULL:
        state.next_number += 1
    return job


cdef job_t* job_new_numbered(state_t* state, const order_t* order, uint64_t number) noexcept nogil:
    cdef job_t* job = allocate(state, order)
    if job == NULL:
        return NULL
    link_init(&job.in_place)
    list_init(&job.waits)
    job.timer.index = 0
    job.function = order.function
    job.worker = NULL
    job.numerator = job.denominator = 0
    job.attempts = 0
    job.waiting = 0
    job.priority = order.priority
    job.background = order.background
    job.has_reducer = order.has_reducer
    job.has_key = order.has_key
    job.key_hash = order.key_hash
    job.stored = STORED_NOT
    job.kept = job.away = False
    job.in_jobs.hash = number
    if enter_tables(state, job, order) != FG_OK:
        if job.blob != NULL:
            blob_release(job.blob)
        slabs_give(&state.slabs, job, own_size(job))
        return NULL
    state.memory += weight(job)
    return job


cdef int enter_tables(state_t* state, job_t* job, const order_t* order) noexcept nogil:
    if table_insert(&state.jobs, &job.in_jobs) != FG_OK:
        return FG_ENOMEM
    if job.has_key:
        if index_insert(&state.uniques, job.key_hash, job) != FG_OK:
            table_remove(&state.jobs, &job.in_jobs)
            return FG_ENOMEM
    return FG_OK


cdef void release(state_t* state, job_t* job) noexcept nogil:
    """Give its memory back; the tables are the caller's."""
    cdef link_t* link = list_first(&job.waits)
    while link != NULL:
        wait_free(state, wait_from_in_job(link))
        link = list_first(&job.waits)
    state.memory -= weight(job)
    if job.blob != NULL:
        blob_release(job.blob)
    slabs_give(&state.slabs, job, own_size(job))


cdef bint job_by_workload(const job_t* job) noexcept nogil:
    return job.has_key and is_dash(job_unique(job))


cdef void job_keep(state_t* state, job_t* job, bint kept) noexcept nogil:
    if kept != job.kept:
        job.kept = kept
        state.journal.kept += job_workload(job).length if kept else -<int64_t>job_workload(job).length


cdef void job_send_away(state_t* state, job_t* job) noexcept nogil:
    state.memory -= job.blob.capacity
    blob_release(job.blob)
    job.blob = NULL
    job.away = True


cdef void job_bring(state_t* state, job_t* job, blob_t* blob) noexcept nogil:
    job.blob = blob
    state.memory += blob.capacity
    job.away = False
    job_keep(state, job, True)


cdef void job_free(state_t* state, job_t* job) noexcept nogil:
    fg_check(not link_is_linked(&job.in_place))
    fg_check(not heap_contains(&job.timer))
    table_remove(&state.jobs, &job.in_jobs)
    if job.has_key:
        index_remove(&state.uniques, job.key_hash, job)
    if job.stored != STORED_NOT:
        journal_ended(state, job)
    job_keep(state, job, False)
    release(state, job)


cdef uint64_t handle_number(state_t* state, slice_t handle) noexcept nogil:
    cdef size_t start = state.prefix_length
    cdef uint64_t number
    if has_stem(state, handle):
        if digits_read_eight(handle.bytes + state.stem_length, &number):
            return state.stem_number * DIGITS_EIGHT + number
        return 0
    if handle.length <= start or handle.length > MAX_HANDLE or memcmp(handle.bytes, state.prefix, start) != 0:
        return 0
    if handle.bytes[start] == 48 or not digits_read(handle.bytes + start, handle.length - start, &number):
        return 0
    return number


cdef inline bint has_stem(const state_t* state, slice_t handle) noexcept nogil:
    return (
        handle.length == state.stem_length + 8 and state.stem_number > 0
        and memcmp(handle.bytes, state.stem, state.stem_length) == 0
    )


cdef job_t* job_by_handle(state_t* state, slice_t handle) noexcept nogil:
    cdef uint64_t number = handle_number(state, handle)
    return <job_t*>table_first(&state.jobs, number) if number > 0 else NULL


cdef job_t* job_by_order(state_t* state, const order_t* order) noexcept nogil:
    cdef index_cursor_t cursor
    cdef job_t* job
    cdef bint by_workload = is_dash(order.unique)
    if not order.has_key:
        return NULL
    job = <job_t*>index_first(&state.uniques, order.key_hash, &cursor)
    while job != NULL:
        if job.function == order.function and slices_equal(job_unique(job), order.unique) and (
            not by_workload or slices_equal(job_workload(job), order.workload)
        ):
            return job
        job = <job_t*>index_next(&cursor)
    return NULL


cdef job_t* job_by_unique(state_t* state, function_t* function, slice_t unique) noexcept nogil:
    """One look-up per function: uniques are kept by function, and this question is rare."""
    cdef order_t order
    cdef size_t id
    cdef job_t* job
    if is_dash(unique):
        return NULL
    order.unique = unique
    order.workload = slice_of(NULL, 0)
    state.effort += state.by_id_length >> 2
    for id in range(state.by_id_length):
        order.function = state.by_id[id]
        if order.function == NULL or (function != NULL and function != order.function):
            continue
        order_set_key(state, &order)
        job = job_by_order(state, &order)
        if job != NULL:
            return job
    return NULL


cdef void set_stem(state_t* state, uint64_t number) noexcept nogil:
    memcpy(state.stem, state.prefix, state.prefix_length)
    state.stem_length = state.prefix_length + digits_write(state.stem + state.prefix_length, number)
    state.stem_number = number


cdef void handle_init(state_t* state, uint64_t number, handle_t* handle) noexcept nogil:
    """Numbers count up, so that all but their last digits are nearly always those of the one before."""
    if number < DIGITS_EIGHT:
        memcpy(handle.bytes, state.prefix, state.prefix_length)
        handle.length = state.prefix_length + digits_write(handle.bytes + state.prefix_length, number)
        return
    if number // DIGITS_EIGHT != state.stem_number:
        set_stem(state, number // DIGITS_EIGHT)
    memcpy(handle.bytes, state.stem, sizeof(state.stem))  # all of it: that is a few moves, and no call
    digits_write_eight(handle.bytes + state.stem_length, <uint32_t>(number % DIGITS_EIGHT))
    handle.length = state.stem_length + 8


cdef int wait_add(state_t* state, job_t* job, peer_t* peer) noexcept nogil:
    cdef wait_t* wait = <wait_t*>slabs_take(&state.slabs, sizeof(wait_t))
    if wait == NULL:
        return FG_ENOMEM
    memset(wait, 0, sizeof(wait_t))
    wait.job = job
    wait.peer = peer
    job.waiting += 1
    state.memory += sizeof(wait_t)
    list_push_back(&job.waits, &wait.in_job)
    list_push_back(&peer.waits, &wait.in_peer)
    return FG_OK


cdef void wait_free(state_t* state, wait_t* wait) noexcept nogil:
    wait.job.waiting -= 1
    state.memory -= sizeof(wait_t)
    link_remove(&wait.in_job)
    link_remove(&wait.in_peer)
    slabs_give(&state.slabs, wait, sizeof(wait_t))
