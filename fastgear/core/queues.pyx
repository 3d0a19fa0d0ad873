# SPDX-License-Identifier: MIT
"""The lines that jobs stand in.

A job has one place: delayed (a heap by due time), queued (its function's list of its priority) or running (its worker's
list). The bits of `ready` say which functions have queued jobs of a priority; a worker finds its next job by one search
for a bit that is also in its abilities, so neither many functions nor many abilities cost it anything. Functions take
turns: the search goes down from the last one served, and a new worker begins with the newest.
"""

from fastgear.base.bitset cimport bitset_add, bitset_discard, bitset_next_common
from fastgear.base.check cimport fg_check
from fastgear.base.heap cimport heap_contains, heap_free, heap_init, heap_pop, heap_push, heap_remove, heap_top
from fastgear.base.list cimport link_is_linked, link_remove, list_first, list_is_empty, list_push_back, list_push_front
from fastgear.base.status cimport FG_OK
from fastgear.core.flow cimport flow_free_awaiting, flow_free_worker, flow_is_spent
from fastgear.core.functions cimport function_note_need
from fastgear.core.jobs cimport job_from_in_place
from fastgear.core.model cimport JOB_DELAYED, JOB_QUEUED, JOB_RUNNING, JOB_STORING, PRIORITIES, function_t
from fastgear.core.workers cimport wake_for


cdef void queues_init(state_t* state) noexcept nogil:
    heap_init(&state.epochs)
    heap_init(&state.timeouts)


cdef void queues_free(state_t* state) noexcept nogil:
    heap_free(&state.epochs)
    heap_free(&state.timeouts)


cdef inline void count_in(state_t* state, job_t* job) noexcept nogil:
    """It stands in its queue now: let that be known, and sleepers woken."""
    cdef function_t* function = job.function
    job.place = JOB_QUEUED
    function.queued[job.priority] += 1
    if function.queued[job.priority] == 1:
        bitset_add(&state.ready[job.priority], function.id)
    if list_is_empty(&function.sleepers):
        function_note_need(state, function)
    else:
        wake_for(state, function)


cdef inline void count_out(state_t* state, job_t* job) noexcept nogil:
    cdef function_t* function = job.function
    function.queued[job.priority] -= 1
    if function.queued[job.priority] == 0:
        bitset_discard(&state.ready[job.priority], function.id)
    function_note_need(state, function)


cdef void queue_back(state_t* state, job_t* job) noexcept nogil:
    list_push_back(&job.function.queue[job.priority], &job.in_place)
    count_in(state, job)


cdef void queue_front(state_t* state, job_t* job) noexcept nogil:
    list_push_front(&job.function.queue[job.priority], &job.in_place)
    count_in(state, job)


cdef int queue_later(state_t* state, job_t* job, int64_t due_wall_ns) noexcept nogil:
    cdef int status = heap_push(&state.epochs, &job.timer, due_wall_ns)
    if status == FG_OK:
        job.place = JOB_DELAYED
        job.function.delayed += 1
    return status


cdef void queue_when_due(state_t* state, job_t* job, int64_t due_wall_ns) noexcept nogil:
    if due_wall_ns <= state.now_wall_ns or queue_later(state, job, due_wall_ns) != FG_OK:
        queue_back(state, job)


cdef job_t* queue_take(state_t* state, peer_t* peer) noexcept nogil:
    cdef int priority
    cdef ssize_t id
    cdef job_t* job
    for priority in range(PRIORITIES):
        id = bitset_next_common(&peer.can_do, &state.ready[priority], peer.turn)
        if id < 0:
            continue
        peer.turn = <size_t>id
        job = job_from_in_place(list_first(&state.by_id[id].queue[priority]))
        link_remove(&job.in_place)
        count_out(state, job)
        job.place = JOB_RUNNING
        job.worker = peer
        job.function.running += 1
        list_push_back(&peer.jobs, &job.in_place)
        return job
    return NULL


cdef void unplace(state_t* state, job_t* job) noexcept nogil:
    if job.place == JOB_DELAYED:
        heap_remove(&state.epochs, &job.timer)
        job.function.delayed -= 1
        return
    if job.place == JOB_STORING:
        job.function.delayed -= 1
        state.journal.storing -= 1
        return
    link_remove(&job.in_place)
    if job.place == JOB_QUEUED:
        count_out(state, job)
        return
    fg_check(job.place == JOB_RUNNING)
    if heap_contains(&job.timer):
        heap_remove(&state.timeouts, &job.timer)
    job.function.running -= 1
    flow_free_worker(state, job.worker)
    if job.worker.awaited == job:
        grab_again(state, job.worker)
    job.worker = NULL


cdef void grab_again(state_t* state, peer_t* worker) noexcept nogil:
    """What it was to get is gone: let its grab be answered as one that waited."""
    worker.awaited = NULL
    if worker.closing:
        return
    if not worker.deaf:
        worker.parked += 1
        worker.parked_grab = worker.awaited_grab
        if not link_is_linked(&worker.in_served):
            list_push_back(&state.served, &worker.in_served)
    flow_free_awaiting(state, worker)


cdef void queue_due(state_t* state) noexcept nogil:
    cdef heap_entry_t* entry = heap_top(&state.epochs)
    cdef job_t* job
    while entry != NULL and entry.key <= state.now_wall_ns and not flow_is_spent(state):
        state.effort += 1
        heap_pop(&state.epochs)
        job = job_from_timer(entry)
        job.function.delayed -= 1
        queue_back(state, job)
        entry = heap_top(&state.epochs)
