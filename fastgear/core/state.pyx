# SPDX-License-Identifier: MIT
"""The beginning and the end of a state, of peers, and the passing of time."""

from libc.string cimport memcpy, memset, strlen

from fastgear.base.blob cimport shelf_clear
from fastgear.base.buffer cimport buffer_length, pieces_free
from fastgear.base.heap cimport heap_entry_t, heap_top
from fastgear.base.list cimport link_unlink, list_first, list_init, list_is_empty
from fastgear.core.assign cimport assign_parked, forget_waits, give_back_all, time_out_due
from fastgear.core.durable cimport durable_forget, durable_free, durable_go_on, durable_init, durable_is_behind
from fastgear.core.flow cimport flow_cut_off, flow_free_workers, flow_init, flow_sent, peer_from_in_slow
from fastgear.core.functions cimport function_queued, functions_free, functions_init
from fastgear.core.halves cimport halves_give_up, halves_init, peer_from_in_halves
from fastgear.core.jobs cimport jobs_free, jobs_init
from fastgear.core.model cimport MAX_PREFIX
from fastgear.core.peers cimport peer_free, peer_new
from fastgear.core.queues cimport queue_due, queues_free, queues_init
from fastgear.core.workers cimport abilities_reset, peer_from_in_woken, rescue, worker_is_up, workers_free, workers_init


cdef void state_init(
    state_t* state, const settings_t* settings, const char* prefix, const char* version, const uint64_t* random,
    uint64_t first_number
) noexcept nogil:
    memset(state, 0, sizeof(state_t))
    state.settings = settings[0]
    state.prefix_length = min(strlen(prefix), <size_t>MAX_PREFIX)
    memcpy(state.prefix, prefix, state.prefix_length)
    memcpy(state.version, version, min(strlen(version), sizeof(state.version) - 1))
    state.hash_key[0] = random[0]
    state.hash_key[1] = random[1]
    state.next_number = first_number
    list_init(&state.peers)
    list_init(&state.dirty)
    list_init(&state.doomed)
    flow_init(state)
    halves_init(state)
    workers_init(state)
    queues_init(state)
    jobs_init(state)
    durable_init(state)
    functions_init(state)


cdef void state_free(state_t* state) noexcept nogil:
    """Peers first, as if they had left; then the jobs that remain."""
    while not list_is_empty(&state.peers):
        state_disconnect(state, <peer_t*>list_first(&state.peers))  # in_peers is the first member
    durable_free(state)
    jobs_free(state)
    queues_free(state)
    workers_free(state)
    functions_free(state)
    shelf_clear(&state.spares)
    pieces_free(&state.pieces)


cdef void state_set_time(state_t* state, int64_t now_ns, int64_t now_wall_ns) noexcept nogil:
    state.now_ns = now_ns
    state.now_wall_ns = now_wall_ns
    state.effort_before = state.effort


cdef void state_fire_due(state_t* state) noexcept nogil:
    """Every turn; so nothing is called that has nothing to do."""
    state_settle(state)  # or, after a turn that was long, those that are to be answered would count as workers that do not grab
    if not list_is_empty(&state.journal.written.answers):
        durable_go_on(state)
    if state.epochs.length > 0:
        queue_due(state)
    if state.timeouts.length > 0:
        time_out_due(state)
    if not list_is_empty(&state.woken):
        rescue(state, state.now_ns - state.settings.rescue_ns)
    if not list_is_empty(&state.slow):
        flow_cut_off(state)
    if not list_is_empty(&state.halves):
        halves_give_up(state)
    state_settle(state)


cdef void state_settle(state_t* state) noexcept nogil:
    if not list_is_empty(&state.served):
        assign_parked(state)


cdef inline int64_t sooner(int64_t found, int64_t due_ns, int64_t now_ns) noexcept nogil:
    cdef int64_t wait_ns = due_ns - now_ns if due_ns > now_ns else 0
    return wait_ns if found < 0 or wait_ns < found else found


cdef int64_t state_next_due(const state_t* state) noexcept nogil:
    cdef int64_t found = -1
    cdef const heap_entry_t* entry = heap_top(&state.epochs)
    if entry != NULL:
        found = sooner(found, entry.key, state.now_wall_ns)
    entry = heap_top(&state.timeouts)
    if entry != NULL:
        found = sooner(found, entry.key, state.now_ns)
    if state.woken.next != &state.woken:
        found = sooner(found, peer_from_in_woken(state.woken.next).woken_ns + state.settings.rescue_ns, state.now_ns)
    if state.slow.next != &state.slow:
        found = sooner(found, peer_from_in_slow(state.slow.next).slow_until_ns, state.now_ns)
    if state.halves.next != &state.halves:
        found = sooner(found, peer_from_in_halves(state.halves.next).half_until_ns, state.now_ns)
    if state.resumed.next != &state.resumed or durable_is_behind(state):
        found = 0
    return found


cdef peer_t* state_connect(state_t* state) noexcept nogil:
    return peer_new(state)


cdef void state_disconnect(state_t* state, peer_t* peer) noexcept nogil:
    state_retire(state, peer)
    durable_forget(state, peer)
    peer_free(state, peer)


cdef inline void forget_grabs(peer_t* peer) noexcept nogil:
    """Those that wait, and are not to be answered any more."""
    peer.parked = 0
    link_unlink(&peer.in_served)


cdef void state_retire(state_t* state, peer_t* peer) noexcept nogil:
    """First it can do nothing any more, so that none of its jobs comes back to it."""
    peer.closing = True
    worker_is_up(state, peer)
    forget_grabs(peer)
    abilities_reset(state, peer)
    forget_waits(state, peer)
    flow_free_workers(state, peer)
    give_back_all(state, peer)


cdef void peer_deafen(state_t* state, peer_t* peer) noexcept nogil:
    peer.deaf = True
    abilities_reset(state, peer)
    forget_grabs(peer)
    durable_forget(state, peer)
    flow_sent(state, peer, buffer_length(&peer.out))


cdef uint64_t state_work_left(const state_t* state) noexcept nogil:
    cdef uint64_t left = state.journal.storing
    cdef size_t id
    for id in range(state.by_id_length):
        if state.by_id[id] != NULL:
            left += function_queued(state.by_id[id]) + state.by_id[id].running
    return left
