# SPDX-License-Identifier: MIT
"""The whole of a state, looked at: every count recounted, every list walked, and nobody who waits waits in vain.

Each function returns NULL or the first thing that it finds broken.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from fastgear.base.bitset cimport bitset_has
from fastgear.base.buffer cimport buffer_length
from fastgear.base.heap cimport heap_contains, heap_entry_t, heap_length, heap_t
from fastgear.base.index cimport index_length
from fastgear.base.list cimport link_is_linked, link_t, list_is_empty
from fastgear.base.table cimport table_begin, table_cursor_t, table_each, table_length, table_node_t
from fastgear.core.flow cimport peer_from_in_slow, unsent
from fastgear.core.functions cimport function_wants_workers
from fastgear.core.halves cimport is_half, peer_from_in_halves
from fastgear.core.jobs cimport job_from_in_place, job_workload, wait_from_in_job, wait_from_in_peer
from fastgear.core.model cimport (
    HOLD_CLIENT, HOLD_FULL, HOLD_STORE, HOLD_TURN, HOLD_WORKLOAD, JOB_DELAYED, JOB_QUEUED, JOB_RUNNING,
    JOB_STORING, PRIORITIES, STORED_SAFELY, ability_t, function_t, job_t, peer_t, wait_t,
)
from fastgear.core.workers cimport ability_from_in_peer, ability_from_in_sleep

cdef enum:
    ARITY = 4                   # of the heaps
    COUNTED = 1024              # functions whose jobs are recounted, those with the smallest ids

# What is recounted, by function or in all.
ctypedef struct sums_t:
    uint64_t queued
    uint64_t running
    uint64_t delayed
    uint64_t storing
    uint64_t timed
    uint64_t keyed
    uint64_t waits
    uint64_t kept
    uint64_t memory

cdef sums_t by_function[COUNTED]


cdef const char* state_complaint(state_t* state, bint settled) noexcept nogil:
    cdef const char* complaint = jobs_complaint(state)
    if complaint == NULL:
        complaint = functions_complaint(state)
    if complaint == NULL:
        complaint = peers_complaint(state, settled)
    if complaint == NULL:
        complaint = heap_complaint(&state.epochs)
    if complaint == NULL:
        complaint = heap_complaint(&state.timeouts)
    if complaint == NULL:
        complaint = order_complaint(state)
    return complaint


# -- jobs -------------------------------------------------------------------------------------------------------------

cdef void count_job(sums_t* sums, job_t* job) noexcept nogil:
    sums.queued += job.place == JOB_QUEUED
    sums.running += job.place == JOB_RUNNING
    sums.delayed += job.place == JOB_DELAYED
    sums.storing += job.place == JOB_STORING
    sums.timed += job.place == JOB_RUNNING and heap_contains(&job.timer)
    sums.keyed += job.has_key
    sums.waits += job.waiting
    sums.kept += job_workload(job).length if job.kept else 0
    sums.memory += sizeof(job_t) + job.unique_length + job.reducer_length + job.workload_length
    sums.memory += job.blob.capacity if job.blob != NULL else 0


cdef const char* jobs_complaint(state_t* state) noexcept nogil:
    cdef table_cursor_t cursor = table_begin()
    cdef table_node_t* node = table_each(&state.jobs, &cursor)
    cdef sums_t sums = sums_t(0, 0, 0, 0, 0, 0, 0, 0, 0)
    cdef link_t* link = state.peers.next
    cdef peer_t* peer
    cdef const char* complaint
    while node != NULL:
        complaint = job_complaint(<job_t*>node)
        if complaint != NULL:
            return complaint
        count_job(&sums, <job_t*>node)
        node = table_each(&state.jobs, &cursor)
    sums.memory += sums.waits * sizeof(wait_t)
    sums.memory += state.journal.filling.counted + state.journal.written.counted
    while link != &state.peers:
        peer = <peer_t*>link  # in_peers is the first member
        sums.memory += peer.blob.capacity if peer.blob != NULL else 0
        link = link.next
    if sums.keyed != index_length(&state.uniques):
        return "the index of uniques has not the jobs with a key"
    if sums.delayed != heap_length(&state.epochs) or sums.timed != heap_length(&state.timeouts):
        return "there are timers without a job, or jobs without their timer"
    if sums.storing != state.journal.storing:
        return "journal.storing is not the number of jobs that the store does not have yet"
    if sums.kept != state.journal.kept:
        return "journal.kept is not the bytes of stored workloads in memory"
    if sums.memory != state.memory:
        return "state.memory is not the sum of what it stands for"
    return NULL


cdef const char* job_complaint(job_t* job) noexcept nogil:
    cdef link_t* link = job.waits.next
    cdef uint64_t waits = 0
    while link != &job.waits:
        waits += 1
        if wait_from_in_job(link).job != job:
            return "a wait is with the wrong job"
        link = link.next
    if waits != job.waiting:
        return "job.waiting is not the length of job.waits"
    if (job.place == JOB_RUNNING) != (job.worker != NULL):
        return "a job has a worker and is not running, or the other way round"
    if link_is_linked(&job.in_place) != (job.place == JOB_QUEUED or job.place == JOB_RUNNING):
        return "a job is on a list that its place does not have"
    if heap_contains(&job.timer) and job.place != JOB_DELAYED and job.place != JOB_RUNNING:
        return "a job has a timer that its place does not have"
    if job.place == JOB_DELAYED and not heap_contains(&job.timer):
        return "a delayed job has no timer"
    if waits == 0 and not job.background and job.place != JOB_RUNNING:
        return "a job is kept that nobody wants"
    if job.away and (job.blob != NULL or job.kept or job.stored != STORED_SAFELY):
        return "a workload is away, and here, or not stored"
    return NULL


# -- functions --------------------------------------------------------------------------------------------------------

cdef const char* functions_complaint(state_t* state) noexcept nogil:
    cdef const char* complaint
    cdef size_t id, count = 0
    sum_by_function(state)
    for id in range(state.by_id_length):
        if state.by_id[id] == NULL:
            continue
        count += 1
        if state.by_id[id].id != id:
            return "a function is not where its id says"
        complaint = function_complaint(state, state.by_id[id])
        if complaint != NULL:
            return complaint
    if count != table_length(&state.functions):
        return "functions by name and by id are not the same"
    return NULL


cdef void sum_by_function(state_t* state) noexcept nogil:
    cdef table_cursor_t cursor = table_begin()
    cdef table_node_t* node = table_each(&state.jobs, &cursor)
    memset(by_function, 0, min(state.by_id_length, <size_t>COUNTED) * sizeof(sums_t))
    while node != NULL:
        if (<job_t*>node).function.id < COUNTED:
            count_job(&by_function[(<job_t*>node).function.id], <job_t*>node)
        node = table_each(&state.jobs, &cursor)


cdef const char* function_complaint(state_t* state, function_t* function) noexcept nogil:
    cdef sums_t* sums = &by_function[function.id]
    cdef uint64_t queued = 0, wakes = 0, workers = 0
    cdef int64_t length
    cdef int priority
    cdef link_t* link = state.peers.next
    if function.id >= COUNTED:
        return NULL
    for priority in range(PRIORITIES):
        length = line_length(function, priority)
        if length != <int64_t>function.queued[priority]:
            return "a line of jobs has not its length, or jobs of others"
        if bitset_has(&state.ready[priority], function.id) != (length > 0):
            return "the bit that says whether a function has queued jobs is wrong"
        queued += length
    if queued != sums.queued or function.running != sums.running or function.delayed != sums.delayed + sums.storing:
        return "the counts of a function are not those of its jobs"
    while link != &state.peers:
        wakes += (<peer_t*>link).woken_for == function
        workers += bitset_has(&(<peer_t*>link).can_do, function.id)
        link = link.next
    if wakes != function.wakes or workers != function.workers:
        return "the counts of a function are not those of its workers"
    if bitset_has(&state.needy, function.id) != function_wants_workers(state, function):
        return "the bit that says whether a function wants workers is wrong"
    return sleepers_complaint(state, function)


cdef int64_t line_length(function_t* function, int priority) noexcept nogil:
    """-1: there is a job in it that does not belong there."""
    cdef link_t* link = function.queue[priority].next
    cdef job_t* job
    cdef int64_t length = 0
    while link != &function.queue[priority]:
        job = job_from_in_place(link)
        if job.function != function or job.priority != priority or job.place != JOB_QUEUED:
            return -1
        length += 1
        link = link.next
    return length


cdef const char* sleepers_complaint(state_t* state, function_t* function) noexcept nogil:
    cdef bint wanted = function_wants_workers(state, function)
    cdef link_t* link = function.sleepers.next
    cdef ability_t* ability
    while link != &function.sleepers:
        ability = ability_from_in_sleep(link)
        if ability.function != function:
            return "an ability sleeps for another function"
        if wanted and ability.peer.sleeping:
            return "a function has jobs, an able sleeper, and no NOOP under way"
        link = link.next
    return NULL


# -- peers ------------------------------------------------------------------------------------------------------------

cdef const char* peers_complaint(state_t* state, bint settled) noexcept nogil:
    cdef const char* complaint
    cdef link_t* link = state.peers.next
    cdef peer_t* peer
    cdef uint64_t output = 0, abilities = 0, peers = 0, of_peers = 0, of_jobs = 0
    cdef table_cursor_t cursor = table_begin()
    cdef table_node_t* node = table_each(&state.jobs, &cursor)
    while node != NULL:
        of_jobs += (<job_t*>node).waiting
        node = table_each(&state.jobs, &cursor)
    while link != &state.peers:
        peer = <peer_t*>link
        link = link.next
        peers += 1
        output += peer.counted
        complaint = peer_complaint(state, peer, &abilities, &of_peers)
        if complaint == NULL:
            complaint = hold_complaint(state, peer)
        if complaint == NULL:
            complaint = sleep_complaint(peer, settled)
        if complaint != NULL:
            return complaint
    if peers != state.peer_count or output != state.output:
        return "the sums over all peers are wrong"
    if abilities != table_length(&state.abilities) or of_peers != of_jobs:
        return "abilities or waits are not on their peers' lists"
    if settled and not list_is_empty(&state.served):
        return "a grab that waits was not answered, and there is a job"
    return NULL


cdef const char* peer_complaint(state_t* state, peer_t* peer, uint64_t* abilities, uint64_t* waits) noexcept nogil:
    cdef link_t* link = peer.jobs.next
    while link != &peer.jobs:
        if job_from_in_place(link).worker != peer or job_from_in_place(link).place != JOB_RUNNING:
            return "a worker has a job that is not its own"
        link = link.next
    link = peer.abilities.next
    while link != &peer.abilities:
        abilities[0] += 1
        if not bitset_has(&peer.can_do, ability_from_in_peer(link).function.id):
            return "an ability is on the list and not in the set"
        if not link_is_linked(&ability_from_in_peer(link).in_sleep):
            return "an ability is on no list of sleepers"
        link = link.next
    link = peer.waits.next
    while link != &peer.waits:
        waits[0] += 1
        if wait_from_in_peer(link).peer != peer:
            return "a wait is with the wrong peer"
        link = link.next
    if link_is_linked(&peer.in_doomed):
        return NULL  # there was no memory for it, and it is gone before anything more is done with it
    if peer.counted != unsent(peer):
        return "peer.counted is not what waits for it"
    if list_is_empty(&peer.answers) and buffer_length(&peer.behind) > 0:
        return "output waits for the store, and no answer does"
    if (peer.rest == NULL) != (peer.rest_length == 0) or (peer.blob != NULL and (peer.rest == NULL or peer.blob_missing == 0)):
        return "what is kept of a peer's input is inconsistent"
    return NULL


cdef const char* hold_complaint(state_t* state, peer_t* peer) noexcept nogil:
    """Whoever has to wait waits for something that can come; whoever is too slow is watched."""
    cdef size_t own = min(peer.own, unsent(peer))
    if link_is_linked(&peer.in_held) != (peer.hold == HOLD_CLIENT or peer.hold == HOLD_STORE):
        return "a peer waits on nobody's list, or on one without waiting"
    if link_is_linked(&peer.in_resumed) != (peer.hold == HOLD_TURN):
        return "a peer waits for the next turn, which does not know, or the other way round"
    if peer.hold == HOLD_FULL and own < state.settings.pause_output:
        return "a peer waits until it has read, and it has"
    if peer.hold == HOLD_WORKLOAD and peer.awaited == NULL and not peer.closing:
        return "a peer waits for a workload, and there is none to come"
    if not list_is_empty(&peer.held) and unsent(peer) <= state.settings.max_output - state.settings.max_output // 4:
        return "workers wait until a client has read, and it has"
    if link_is_linked(&peer.in_doomed):
        return NULL
    if unsent(peer) > state.settings.max_output and not link_is_linked(&peer.in_slow):
        return "a peer has too much to read, and nobody watches whether it does"
    if is_half(peer) and state.settings.input_timeout_ns > 0 and not link_is_linked(&peer.in_halves):
        return "a peer has sent half of something, and nobody watches whether the rest comes"
    return NULL


cdef const char* sleep_complaint(peer_t* peer, bint settled) noexcept nogil:
    if link_is_linked(&peer.in_woken) != (peer.woken_for != NULL):
        return "a worker is woken for a function and not on the list of those, or the other way round"
    if peer.woken_for != NULL and (peer.sleeping or not bitset_has(&peer.can_do, peer.woken_for.id)):
        return "a worker is woken and sleeps, or is woken for what it cannot do"
    if peer.sleeping and not list_is_empty(&peer.unlisted):
        return "a worker sleeps, and not for all that it can do"
    if peer.awaited != NULL and peer.awaited.worker != peer:
        return "a worker awaits the workload of a job that is not its own"
    if settled and peer.parked > 0 and not peer.sleeping and peer.awaited == NULL and not peer.closing:
        return "a worker's grab waits, and it would not be woken for a job"
    return NULL


# -- times ------------------------------------------------------------------------------------------------------------

cdef const char* heap_complaint(heap_t* heap) noexcept nogil:
    cdef heap_entry_t** entries = heap.entries
    cdef size_t i
    for i in range(heap.length):
        if entries[i].index != i + 1:
            return "an entry of a heap does not know its place"
        if i > 0 and entries[(i - 1) // ARITY].key > entries[i].key:
            return "a heap is not in order"
    return NULL


cdef const char* order_complaint(state_t* state) noexcept nogil:
    """Who is watched is first who is due first."""
    cdef link_t* link = state.slow.next
    while link != &state.slow and link.next != &state.slow:
        if peer_from_in_slow(link).slow_until_ns > peer_from_in_slow(link.next).slow_until_ns:
            return "those who do not read are not in the order of their times"
        link = link.next
    link = state.halves.next
    while link != &state.halves and link.next != &state.halves:
        if peer_from_in_halves(link).half_until_ns > peer_from_in_halves(link.next).half_until_ns:
            return "those with half a packet are not in the order of their times"
        link = link.next
    return NULL
