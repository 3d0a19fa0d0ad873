# SPDX-License-Identifier: MIT
"""Jobs as records: made, found by handle or unique, waited for, freed. Where a job stands in line is queues.pxd's business."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from fastgear.base.blob cimport blob_t
from fastgear.base.index cimport index_length, index_prefetch
from fastgear.base.list cimport link_t
from fastgear.core.model cimport MAX_HANDLE, function_t, job_t, peer_t, state_t, wait_t
from fastgear.protocol.packet cimport slice_t

cdef enum:
    FAR = 30000             # jobs, in the index of uniques

# What a submission says of its job. All of it is borrowed. The last two are set by order_set_key, once the others are.
ctypedef struct order_t:
    function_t* function
    slice_t unique
    slice_t reducer
    slice_t workload
    blob_t* blob            # the workload once more when it came into a blob, else NULL
    uint8_t priority
    bint background
    bint has_reducer
    bint has_key
    uint64_t key_hash

ctypedef struct handle_t:
    uint8_t bytes[MAX_HANDLE + 1]
    size_t length

cdef void jobs_init(state_t* state) noexcept nogil
cdef void jobs_free(state_t* state) noexcept nogil

cdef void order_set_key(state_t* state, order_t* order) noexcept nogil
# Something of this function and unique will be asked for soon: let its place come from memory meanwhile.
cdef void job_expect(state_t* state, function_t* function, slice_t unique) noexcept nogil
# A job that stands nowhere yet, with the next number or a given one; NULL when there is no memory for it.
cdef job_t* job_new(state_t* state, const order_t* order) noexcept nogil
cdef job_t* job_new_numbered(state_t* state, const order_t* order, uint64_t number) noexcept nogil
# Forget a job that stands nowhere any more; its waits go with it, and so does the store's knowledge of it.
cdef void job_free(state_t* state, job_t* job) noexcept nogil

# Whether it is the same as others with its workload, which therefore has to be here.
cdef bint job_by_workload(const job_t* job) noexcept nogil
# Count its workload in journal.kept, or do not.
cdef void job_keep(state_t* state, job_t* job, bint kept) noexcept nogil
# A large workload that is stored need not be here; it can be brought back, whatever its size.
cdef void job_send_away(state_t* state, job_t* job) noexcept nogil
cdef void job_bring(state_t* state, job_t* job, blob_t* blob) noexcept nogil

# The number in one of our handles, which a job had or has; 0: it is none.
cdef uint64_t handle_number(state_t* state, slice_t handle) noexcept nogil
cdef job_t* job_by_handle(state_t* state, slice_t handle) noexcept nogil
# The job that a submission of this order would join, or NULL.
cdef job_t* job_by_order(state_t* state, const order_t* order) noexcept nogil
# Any job with that unique; of the function where one is given.
cdef job_t* job_by_unique(state_t* state, function_t* function, slice_t unique) noexcept nogil

cdef void handle_init(state_t* state, uint64_t number, handle_t* handle) noexcept nogil

cdef int wait_add(state_t* state, job_t* job, peer_t* peer) noexcept nogil  # FG_OK or FG_ENOMEM
cdef void wait_free(state_t* state, wait_t* wait) noexcept nogil

cdef inline bint jobs_are_far(const state_t* state) noexcept nogil:
    """Whether their index is too large for the caches, so that it is worth while to expect something."""
    return index_length(&state.uniques) >= FAR

cdef inline void job_expect_end(const state_t* state, const job_t* job) noexcept nogil:
    """It will leave the index in a while."""
    if job.has_key and jobs_are_far(state):
        index_prefetch(&state.uniques, job.key_hash)

cdef inline job_t* job_from_in_place(link_t* link) noexcept nogil:
    return <job_t*>(<char*>link - <size_t>&(<job_t*>NULL).in_place)

cdef inline wait_t* wait_from_in_job(link_t* link) noexcept nogil:
    return <wait_t*>link  # the first member

cdef inline wait_t* wait_from_in_peer(link_t* link) noexcept nogil:
    return <wait_t*>(<char*>link - <size_t>&(<wait_t*>NULL).in_peer)

cdef inline void job_handle(state_t* state, const job_t* job, handle_t* handle) noexcept nogil:
    handle_init(state, job.in_jobs.hash, handle)

cdef inline slice_t job_unique(const job_t* job) noexcept nogil:
    cdef slice_t slice
    slice.bytes = <const uint8_t*>job.bytes
    slice.length = job.unique_length
    return slice

cdef inline slice_t job_reducer(const job_t* job) noexcept nogil:
    cdef slice_t slice
    slice.bytes = <const uint8_t*>job.bytes + job.unique_length
    slice.length = job.reducer_length
    return slice

cdef inline slice_t job_workload(const job_t* job) noexcept nogil:
    """The workload wherever it is."""
    cdef slice_t slice
    if job.blob != NULL:
        slice.bytes = job.blob.bytes
        slice.length = job.blob.length
    else:
        slice.bytes = <const uint8_t*>job.bytes + job.unique_length + job.reducer_length
        slice.length = job.workload_length
    return slice

cdef inline slice_t handle_slice(const handle_t* handle) noexcept nogil:
    cdef slice_t slice
    slice.bytes = <const uint8_t*>handle.bytes
    slice.length = handle.length
    return slice
