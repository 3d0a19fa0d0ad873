# SPDX-License-Identifier: MIT
"""Submissions wait for the store here, and go on when it has answered.

Two batches: `filling` takes what happens now, `written` is with the thread that writes. When that one fails, so does
everything else that waits: its clients are told, its jobs are forgotten, and of both batches only what the store must know
of older jobs is kept. See docs/decisions/0024-durable-jobs.md.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset, strncpy

from fastgear.base.alloc cimport fg_calloc, fg_free
from fastgear.base.buffer cimport buffer_free, buffer_length, buffer_move
from fastgear.base.check cimport fg_check
from fastgear.base.list cimport (
    link_init, link_remove, link_t, link_unlink, list_first, list_init, list_is_empty, list_push_back,
)
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.base.table cimport table_first
from fastgear.core.assign cimport assign_without_store
from fastgear.core.flow cimport flow_count, flow_free_held, flow_is_spent, peer_doom
from fastgear.core.jobs cimport (
    handle_init, handle_slice, handle_t, job_by_workload, job_free, job_from_in_place, job_keep, job_new_numbered,
    job_send_away,
)
from fastgear.core.journal cimport (
    batch_drop_records, batch_init, journal_attempt, journal_is_open, journal_submitted, journal_take_back,
)
from fastgear.core.model cimport (
    JOB_DELAYED, JOB_RUNNING, JOB_STORING, STORE_LOST, STORE_NONE, STORE_TROUBLE, STORE_WELL, STORED_NOT,
    STORED_SAFELY, STORED_SOON, answer_t, journal_t,
)
from fastgear.core.peers cimport hears_nothing, peer_touch
from fastgear.core.queues cimport queue_when_due, unplace
from fastgear.protocol.encoder cimport encode_error, encode_packet
from fastgear.protocol.packet cimport PacketType, slice_t


cdef void durable_init(state_t* state) noexcept nogil:
    memset(&state.journal, 0, sizeof(state.journal))
    state.journal.store = STORE_WELL if state.settings.durable else STORE_NONE
    batch_init(&state.journal.filling)
    batch_init(&state.journal.written)
    list_init(&state.journal.held)


cdef void durable_free(state_t* state) noexcept nogil:
    """After the peers and before the jobs."""
    drop_batch(state, &state.journal.written)
    drop_batch(state, &state.journal.filling)
    state.journal.store = STORE_NONE


cdef void drop_batch(state_t* state, batch_t* batch) noexcept nogil:
    while not list_is_empty(&batch.answers):
        answer_free(answer_from_in_batch(list_first(&batch.answers)))
    batch_drop_records(state, batch)


# -- answers that wait ------------------------------------------------------------------------------------------------

cdef inline answer_t* answer_from_in_batch(link_t* link) noexcept nogil:
    return <answer_t*>link  # the first member


cdef inline answer_t* answer_from_in_peer(link_t* link) noexcept nogil:
    return <answer_t*>(<char*>link - <size_t>&(<answer_t*>NULL).in_peer)


cdef answer_t* answer_new(state_t* state, peer_t* peer, const job_t* job) noexcept nogil:
    cdef answer_t* answer = <answer_t*>fg_calloc(1, sizeof(answer_t))
    if answer == NULL:
        return NULL
    answer.peer = peer
    answer.number = job.in_jobs.hash
    answer.place = peer.passed + buffer_length(&peer.behind)
    link_init(&answer.in_batch)
    link_init(&answer.in_peer)
    list_push_back(&state.journal.filling.answers, &answer.in_batch)
    list_push_back(&peer.answers, &answer.in_peer)
    return answer


cdef void answer_free(answer_t* answer) noexcept nogil:
    link_remove(&answer.in_batch)
    link_unlink(&answer.in_peer)
    fg_free(answer)


cdef void durable_forget(state_t* state, peer_t* peer) noexcept nogil:
    cdef answer_t* answer
    while not list_is_empty(&peer.answers):
        answer = answer_from_in_peer(list_first(&peer.answers))
        link_remove(&answer.in_peer)
        answer.peer = NULL
    peer.passed += buffer_length(&peer.behind)
    buffer_free(&peer.behind)
    flow_count(state, peer)


cdef void say(state_t* state, answer_t* answer, const char* complaint) noexcept nogil:
    """JOB_CREATED, or what went wrong; then what waited behind it, up to the next answer."""
    cdef peer_t* peer = answer.peer
    cdef handle_t handle
    cdef slice_t part
    cdef int status
    if peer == NULL:
        return
    link_remove(&answer.in_peer)
    if hears_nothing(peer):
        durable_forget(state, peer)
        return
    if complaint == NULL:
        handle_init(state, answer.number, &handle)
        part = handle_slice(&handle)
        state.counters.submitted += 1
        status = encode_packet(&peer.out, False, PacketType.JOB_CREATED, &part, 1)
    else:
        state.counters.refused += 1
        status = encode_error(&peer.out, "QUEUE_ERROR", complaint)
    if status != FG_OK or let_pass(peer) != FG_OK:
        peer_doom(state, peer)
        return
    state.speaker = peer  # it is the answer to its own request
    peer_touch(state, peer)
    state.speaker = NULL


cdef int let_pass(peer_t* peer) noexcept nogil:
    cdef size_t length = buffer_length(&peer.behind)
    if not list_is_empty(&peer.answers):
        length = <size_t>(answer_from_in_peer(list_first(&peer.answers)).place - peer.passed)
    peer.passed += length
    return buffer_move(&peer.out, &peer.behind, length)


# -- submissions ------------------------------------------------------------------------------------------------------

cdef const char* durable_complaint(const state_t* state) noexcept nogil:
    if state.journal.store == STORE_TROUBLE or state.journal.store == STORE_LOST:
        return state.journal.complaint
    return NULL


cdef int durable_submit(state_t* state, peer_t* peer, job_t* job, int64_t due_wall_ns) noexcept nogil:
    if record_submission(state, peer, job, due_wall_ns) != FG_OK:
        return FG_ENOMEM
    job.place = JOB_STORING
    job.timer.key = due_wall_ns
    job.function.delayed += 1
    state.journal.storing += 1
    return FG_OK


cdef int durable_join(state_t* state, peer_t* peer, job_t* job) noexcept nogil:
    if job.stored == STORED_NOT:
        return record_submission(state, peer, job, job.timer.key if job.place == JOB_DELAYED else 0)
    return FG_OK if answer_new(state, peer, job) != NULL else FG_ENOMEM


cdef int record_submission(state_t* state, peer_t* peer, job_t* job, int64_t due_wall_ns) noexcept nogil:
    cdef answer_t* answer = answer_new(state, peer, job)
    if answer == NULL:
        return FG_ENOMEM
    if journal_submitted(state, job, due_wall_ns) != FG_OK:
        answer_free(answer)
        return FG_ENOMEM
    job.stored = STORED_SOON
    return FG_OK


# -- to the store and back --------------------------------------------------------------------------------------------

cdef inline bint is_empty(const batch_t* batch) noexcept nogil:
    return buffer_length(&batch.records) == 0 and list_is_empty(&batch.answers)


cdef batch_t* durable_hand_over(state_t* state) noexcept nogil:
    cdef journal_t* journal = &state.journal
    if journal.store == STORE_NONE or journal.store == STORE_LOST or journal.writing:
        return NULL
    if not list_is_empty(&journal.written.answers):
        return NULL  # it was written, and its answers come first
    if journal.store == STORE_TROUBLE:
        join_records(journal)
    elif buffer_length(&journal.written.records) == 0:
        swap_batches(journal)
        free_held(state)
    if buffer_length(&journal.written.records) == 0 and journal.store != STORE_TROUBLE:
        return NULL
    journal.writing = True
    return &journal.written


cdef void join_records(journal_t* journal) noexcept nogil:
    """What came since the failure, of which workloads may be wanted that can be read, goes with what is tried again."""
    fg_check(list_is_empty(&journal.filling.answers))
    buffer_move(&journal.written.records, &journal.filling.records, buffer_length(&journal.filling.records))
    journal.written.counted += journal.filling.counted
    journal.filling.counted = 0


cdef void swap_batches(journal_t* journal) noexcept nogil:
    """The records change hands, and the answers one list's head; the empty batch has neither."""
    cdef link_t* first = list_first(&journal.filling.answers)
    buffer_free(&journal.written.records)  # a piece without bytes, of a submission that there was no memory for
    journal.written.records = journal.filling.records
    journal.written.counted = journal.filling.counted
    if first != NULL:
        link_remove(&journal.filling.answers)
        list_push_back(first, &journal.written.answers)
    batch_init(&journal.filling)


cdef uint8_t store_after(int outcome) noexcept nogil:
    if outcome == WRITTEN:
        return STORE_WELL
    return STORE_LOST if outcome == FAILED_FOR_GOOD else STORE_TROUBLE


cdef void durable_written(state_t* state, int outcome, const char* complaint) noexcept nogil:
    cdef journal_t* journal = &state.journal
    fg_check(journal.writing)
    journal.writing = False
    journal.store = store_after(outcome)
    strncpy(journal.complaint, complaint, sizeof(journal.complaint) - 1)
    if outcome == WRITTEN or outcome == REFUSING:
        state.counters.commits += buffer_length(&journal.written.records) > 0
        batch_drop_records(state, &journal.written)
        free_held(state)
        durable_go_on(state)
        return
    state.counters.store_failures += 1
    give_up(state, &journal.written)
    give_up(state, &journal.filling)
    if journal.store == STORE_LOST:
        assign_without_store(state)
    free_held(state)


cdef void free_held(state_t* state) noexcept nogil:
    """Those who waited for room go on, be it to hear that the store is not well."""
    flow_free_held(state, &state.journal.held)


cdef bint durable_is_behind(const state_t* state) noexcept nogil:
    return not state.journal.writing and not list_is_empty(&state.journal.written.answers)


cdef bint durable_is_done(const state_t* state) noexcept nogil:
    cdef const journal_t* journal = &state.journal
    if journal.store == STORE_NONE or journal.store == STORE_LOST:
        return True
    return not journal.writing and is_empty(&journal.written) and is_empty(&journal.filling)


cdef void durable_go_on(state_t* state) noexcept nogil:
    cdef answer_t* answer
    if state.journal.writing:
        return
    while not list_is_empty(&state.journal.written.answers) and not flow_is_spent(state):
        state.effort += 2
        answer = answer_from_in_batch(list_first(&state.journal.written.answers))
        say(state, answer, NULL)
        confirm(state, <job_t*>table_first(&state.jobs, answer.number))
        answer_free(answer)


cdef void confirm(state_t* state, job_t* job) noexcept nogil:
    """The store has it, so workers may. It may be over already, or be here for a second answer."""
    if job == NULL or job.stored != STORED_SOON:
        return
    state.counters.stored += 1
    job.stored = STORED_SAFELY
    if job.place == JOB_STORING:
        unplace(state, job)
        queue_when_due(state, job, job.timer.key)
    keep_or_send_away(state, job)


cdef void keep_or_send_away(state_t* state, job_t* job) noexcept nogil:
    """What is over the limit stays in the store until a worker takes the job."""
    cdef uint64_t limit = state.settings.store_memory
    cdef bint may_go = job.blob != NULL and job.place != JOB_RUNNING and not job_by_workload(job)
    if limit > 0 and may_go and state.journal.kept + job.blob.length > limit:
        job_send_away(state, job)
    else:
        job_keep(state, job, True)


cdef void give_up(state_t* state, batch_t* batch) noexcept nogil:
    cdef answer_t* answer
    if state.journal.store == STORE_LOST:
        batch_drop_records(state, batch)
    else:
        journal_take_back(state, batch)
    while not list_is_empty(&batch.answers):
        answer = answer_from_in_batch(list_first(&batch.answers))
        say(state, answer, state.journal.complaint)
        refuse_job(state, <job_t*>table_first(&state.jobs, answer.number))
        answer_free(answer)


cdef void refuse_job(state_t* state, job_t* job) noexcept nogil:
    """One that somebody waits for, or runs, goes on as a foreground job, without the store."""
    if job == NULL or job.stored != STORED_SOON:
        return
    job.stored = STORED_NOT
    job.background = False
    if list_is_empty(&job.waits) and job.place != JOB_RUNNING:
        unplace(state, job)
        job_free(state, job)
    elif job.place == JOB_STORING:
        unplace(state, job)
        queue_when_due(state, job, job.timer.key)


# -- another life -----------------------------------------------------------------------------------------------------

cdef int durable_restore(
    state_t* state, const order_t* order, uint64_t number, uint16_t attempts, int64_t due_wall_ns, bint away
) noexcept nogil:
    cdef job_t* job = job_new_numbered(state, order, number)
    if job == NULL:
        return FG_ENOMEM
    job.attempts = attempts
    job.stored = STORED_SAFELY
    job.away = away
    job_keep(state, job, not away)
    queue_when_due(state, job, due_wall_ns)
    return FG_OK


cdef void durable_uncount(state_t* state) noexcept nogil:
    cdef link_t* peer = state.peers.next
    if not journal_is_open(state):
        return
    while peer != &state.peers:
        uncount_jobs(state, <peer_t*>peer)  # in_peers is the first member
        peer = peer.next


cdef void uncount_jobs(state_t* state, peer_t* peer) noexcept nogil:
    cdef link_t* link = peer.jobs.next
    cdef job_t* job
    while link != &peer.jobs:
        job = job_from_in_place(link)
        link = link.next
        if job.stored != STORED_NOT and job.attempts > 0:
            job.attempts -= 1
            journal_attempt(state, job)
