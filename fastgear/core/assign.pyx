# SPDX-License-Identifier: MIT
"""Giving jobs out, passing answers on, taking jobs back.

A job that lost its worker goes to the front of its line the first time, so that it does not pay for the accident, and to
the back after that: a job that kills its workers must not hold up the others.
"""

from libc.stdint cimport uint32_t

from fastgear.base.blob cimport blob_copy, blob_release
from fastgear.base.heap cimport heap_entry_t, heap_push, heap_remove, heap_top
from fastgear.base.list cimport link_t, list_first, list_is_empty, list_pop_front
from fastgear.base.status cimport FG_OK
from fastgear.base.table cimport table_first
from fastgear.core.flow cimport flow_free_awaiting, flow_is_spent, peer_doom
from fastgear.core.functions cimport function_name
from fastgear.core.jobs cimport (
    handle_slice, handle_t, job_bring, job_expect_end, job_free, job_from_in_place, job_handle, job_reducer, job_unique,
    job_workload, wait_free, wait_from_in_job, wait_from_in_peer,
)
from fastgear.core.journal cimport journal_attempt, journal_dead, journal_wanted
from fastgear.core.model cimport HOLD_CLIENT, JOB_RUNNING, STORE_LOST, STORED_NOT, ability_t, wait_t
from fastgear.core.peers cimport send_data, send_empty, send_parts
from fastgear.core.queues cimport job_from_timer, queue_back, queue_front, queue_take, unplace
from fastgear.core.workers cimport ability_find, peer_from_in_served, worker_is_up, worker_sleep
from fastgear.protocol.packet cimport PacketType, slice_t

cdef enum:
    SHARED = 1024               # bytes of data from which on several clients get the same ones
    POSTPONE_NS = 100000000


# -- out --------------------------------------------------------------------------------------------------------------

cdef void assign_next(state_t* state, peer_t* peer, int grab) noexcept nogil:
    cdef job_t* job = queue_take(state, peer)
    worker_is_up(state, peer)  # after the job is out of the line, or another worker would be woken for it
    if job != NULL and job.away:
        await_workload(state, peer, job, grab)
    elif job != NULL:
        hand_over(state, peer, job, grab)
        if peer.parked > 0:
            worker_sleep(state, peer)  # for the other grabs of it
    elif not peer.parks:
        send_empty(state, peer, PacketType.NO_JOB)
    else:
        peer.parked += 1
        peer.parked_grab = grab
        worker_sleep(state, peer)


cdef void assign_parked(state_t* state) noexcept nogil:
    cdef peer_t* peer
    while not list_is_empty(&state.served):
        peer = peer_from_in_served(list_pop_front(&state.served))
        peer.parked -= 1
        assign_next(state, peer, peer.parked_grab)


cdef void await_workload(state_t* state, peer_t* peer, job_t* job, int grab) noexcept nogil:
    """The job is its worker's from now on, and its worker hears of it once the workload is here."""
    peer.awaited = job
    peer.awaited_grab = grab
    if state.journal.store == STORE_LOST:
        lose_workload(state, job)
    elif journal_wanted(state, job) != FG_OK:
        peer_doom(state, peer)  # it would wait for ever; so its worker loses the job now


cdef void lose_workload(state_t* state, job_t* job) noexcept nogil:
    """It cannot be run in this life. Should the store still have it, it is left there for the next one."""
    job.stored = STORED_NOT
    end_failed(state, job)


cdef void assign_brought(state_t* state, uint64_t number, blob_t* blob) noexcept nogil:
    cdef job_t* job = <job_t*>table_first(&state.jobs, number)
    cdef peer_t* worker
    if job == NULL or not job.away:
        if blob != NULL:
            blob_release(blob)
        return
    if blob == NULL:
        lose_workload(state, job)
        return
    job_bring(state, job, blob)
    worker = job.worker
    if worker == NULL or worker.awaited != job:
        return
    worker.awaited = NULL
    hand_over(state, worker, job, worker.awaited_grab)
    if worker.parked > 0:
        worker_sleep(state, worker)
    flow_free_awaiting(state, worker)


cdef void assign_without_store(state_t* state) noexcept nogil:
    cdef link_t* link = state.peers.next
    while link != &state.peers:
        if (<peer_t*>link).awaited != NULL:  # in_peers is the first member
            lose_workload(state, (<peer_t*>link).awaited)
        link = link.next


cdef void hand_over(state_t* state, peer_t* peer, job_t* job, int grab) noexcept nogil:
    if job.attempts < 0xFFFF:
        job.attempts += 1
    if job.stored != STORED_NOT:
        journal_attempt(state, job)
    state.counters.assigned += 1
    job_expect_end(state, job)
    start_timeout(state, job)
    send_assignment(state, peer, job, grab)


cdef void start_timeout(state_t* state, job_t* job) noexcept nogil:
    cdef ability_t* ability = ability_find(state, job.worker, job.function) if job.worker.timed > 0 else NULL
    if ability == NULL:
        return  # nothing has a timeout, or it was dropped while the workload was on its way
    if ability.timeout_ns > 0 and heap_push(&state.timeouts, &job.timer, state.now_ns + ability.timeout_ns) != FG_OK:
        peer_doom(state, job.worker)  # without its timer the job could hang; so its worker loses it now


cdef void send_assignment(state_t* state, peer_t* peer, job_t* job, int grab) noexcept nogil:
    cdef handle_t handle
    cdef slice_t parts[5]
    cdef int count = 2, type = PacketType.JOB_ASSIGN
    job_handle(state, job, &handle)
    parts[0] = handle_slice(&handle)
    parts[1] = function_name(job.function)
    if grab != PacketType.GRAB_JOB:
        parts[2] = job_unique(job)
        count, type = 3, PacketType.JOB_ASSIGN_UNIQ
        if grab == PacketType.GRAB_JOB_ALL and job.has_reducer:
            parts[3] = job_reducer(job)
            count, type = 4, PacketType.JOB_ASSIGN_ALL
    send_data(state, peer, type, parts, count, job_workload(job), job.blob)


# -- answers ----------------------------------------------------------------------------------------------------------

cdef void forward(state_t* state, peer_t* peer, const packet_t* packet, blob_t* blob) noexcept nogil:
    """The worker's packet as a response: arguments, then data, which may be a blob's, or the last argument."""
    cdef slice_t parts[4]
    cdef uint32_t i
    for i in range(packet.arguments):
        parts[i] = packet.args[i]
    if packet.type == PacketType.WORK_STATUS:
        send_parts(state, peer, packet.type, parts, packet.arguments)
    else:
        send_data(state, peer, packet.type, parts, packet.arguments, packet.data, blob)


cdef void send_fail(state_t* state, peer_t* peer, const job_t* job) noexcept nogil:
    cdef handle_t handle
    cdef slice_t part
    job_handle(state, job, &handle)
    part = handle_slice(&handle)
    send_parts(state, peer, PacketType.WORK_FAIL, &part, 1)


cdef void pass_on(state_t* state, job_t* job, const packet_t* packet) noexcept nogil:
    pass_on_to(state, job, packet, True)


cdef void pass_on_to(state_t* state, job_t* job, const packet_t* packet, bint everybody) noexcept nogil:
    """To several, data that are not small go by reference, as large ones always do. `everybody`, or else those who want
    exceptions, and WORK_FAIL to the others."""
    cdef link_t* link = job.waits.next
    cdef blob_t* blob = packet.blob
    cdef peer_t* peer
    if job.waiting > 1 and blob == NULL and packet.data.length >= SHARED:
        blob = blob_copy(packet.data.bytes, packet.data.length)  # NULL: each gets a copy after all
    while link != &job.waits:
        peer = wait_from_in_job(link).peer
        if everybody or peer.exceptions:
            forward(state, peer, packet, blob)
        else:
            send_fail(state, peer, job)
        state.effort += 1
        link = link.next
    if blob != packet.blob:
        blob_release(blob)


cdef void end_completed(state_t* state, job_t* job, const packet_t* packet) noexcept nogil:
    pass_on(state, job, packet)
    state.counters.completed += 1
    unplace(state, job)
    job_free(state, job)


cdef void end_with_exception(state_t* state, job_t* job, const packet_t* packet) noexcept nogil:
    pass_on_to(state, job, packet, False)
    state.counters.failed += 1
    unplace(state, job)
    job_free(state, job)


cdef void end_failed(state_t* state, job_t* job) noexcept nogil:
    cdef link_t* link = job.waits.next
    while link != &job.waits:
        send_fail(state, wait_from_in_job(link).peer, job)
        state.effort += 1
        link = link.next
    state.counters.failed += 1
    unplace(state, job)
    job_free(state, job)


# -- back -------------------------------------------------------------------------------------------------------------

cdef inline bint spent(const state_t* state, const job_t* job) noexcept nogil:
    """Given out as often as it may be."""
    cdef int retries = state.settings.job_retries
    if retries < 0 and job.stored != STORED_NOT and state.settings.dead_after > 0:
        return job.attempts >= state.settings.dead_after
    return retries >= 0 and job.attempts >= (retries if retries > 1 else 1)


cdef void give_back(state_t* state, job_t* job) noexcept nogil:
    if not job.background and list_is_empty(&job.waits):
        unplace(state, job)
        job_free(state, job)
        return
    if spent(state, job):
        put_aside(state, job)
        end_failed(state, job)
        return
    unplace(state, job)
    job.numerator = job.denominator = 0
    if job.attempts <= 1:
        queue_front(state, job)
    else:
        queue_back(state, job)


cdef void put_aside(state_t* state, job_t* job) noexcept nogil:
    """A job that the store has stays there, among the dead."""
    if job.stored != STORED_NOT:
        journal_dead(state, job)
        job.stored = STORED_NOT
        state.counters.dead += 1


cdef void give_back_all(state_t* state, peer_t* peer) noexcept nogil:
    """Last one first, so that at the front of their lines they stand in their old order."""
    while not list_is_empty(&peer.jobs):
        state.counters.lost += 1
        give_back(state, job_from_in_place(peer.jobs.prev))


cdef void forget_waits(state_t* state, peer_t* peer) noexcept nogil:
    cdef wait_t* wait
    cdef job_t* job
    while not list_is_empty(&peer.waits):
        wait = wait_from_in_peer(list_first(&peer.waits))
        job = wait.job
        wait_free(state, wait)
        if not job.background and job.place != JOB_RUNNING and list_is_empty(&job.waits):
            unplace(state, job)
            job_free(state, job)


cdef void time_out_due(state_t* state) noexcept nogil:
    cdef heap_entry_t* entry = heap_top(&state.timeouts)
    cdef job_t* job
    while entry != NULL and entry.key <= state.now_ns and not flow_is_spent(state):
        job = job_from_timer(entry)
        state.effort += 1
        if job.worker.hold == HOLD_CLIENT:
            postpone(state, job)
        else:
            time_out(state, job)
        entry = heap_top(&state.timeouts)


cdef void time_out(state_t* state, job_t* job) noexcept nogil:
    state.counters.timed_out += 1
    if state.settings.timeout_fails:
        end_failed(state, job)
    else:
        give_back(state, job)


cdef void postpone(state_t* state, job_t* job) noexcept nogil:
    """Its worker's reports wait here, on our account: the job's may be among them."""
    heap_remove(&state.timeouts, &job.timer)
    heap_push(&state.timeouts, &job.timer, state.now_ns + POSTPONE_NS)  # there is room: it was just there
