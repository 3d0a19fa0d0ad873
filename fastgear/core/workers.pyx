# SPDX-License-Identifier: MIT
"""Abilities, sleeping and waking.

Each function has a list of sleepers, most recently gone to sleep first. A worker with ten thousand abilities must be able
to fall asleep and wake up at the cost of one, so the lists are kept lazily: a worker that wakes stays on them. Whoever
looks for a sleeper takes the stale entries it meets off the list and puts them on their worker's `unlisted`; when that
worker falls asleep again, only those are put back. So every entry moved is paid for by one that was needed.

A worker may also leave grabs here that wait for a job (option fastgear/wait). It sleeps then like any other; to wake it
is to note that it is to be served before the turn is over.

A wake is a NOOP under way on behalf of one function; it ends when its worker grabs, leaves, or has not grabbed within the
rescue time. `function_wants_workers` compares a function's wakes with its queued jobs. The invariant, after every request:
a function that wants workers has no sleeper.
"""

from libc.stdint cimport uint64_t

from fastgear.base.alloc cimport fg_calloc, fg_free
from fastgear.base.bitset cimport BITSET_NO_LIMIT, bitset_add, bitset_discard, bitset_has, bitset_last_common
from fastgear.base.check cimport fg_check
from fastgear.base.hash cimport hash_u64
from fastgear.base.list cimport (
    link_remove, link_unlink, list_first, list_init, list_is_empty, list_pop_front, list_push_back, list_push_front,
)
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.base.table cimport table_first, table_free, table_init, table_insert, table_next, table_node_t, table_remove
from fastgear.core.functions cimport function_note_need, function_wants_workers
from fastgear.core.peers cimport send_empty
from fastgear.protocol.packet cimport PacketType

cdef void workers_init(state_t* state) noexcept nogil:
    table_init(&state.abilities)
    list_init(&state.woken)
    list_init(&state.served)


cdef void workers_free(state_t* state) noexcept nogil:
    table_free(&state.abilities)


# -- abilities --------------------------------------------------------------------------------------------------------

cdef inline uint64_t hash_pair(const peer_t* peer, const function_t* function) noexcept nogil:
    return hash_u64(peer.id ^ hash_u64(function.id + 1))


cdef ability_t* ability_find(state_t* state, peer_t* peer, function_t* function) noexcept nogil:
    cdef table_node_t* node
    cdef ability_t* ability
    if not bitset_has(&peer.can_do, function.id):
        return NULL
    node = table_first(&state.abilities, hash_pair(peer, function))
    while node != NULL:
        ability = <ability_t*>node  # in_abilities is the first member
        if ability.peer == peer and ability.function == function:
            return ability
        node = table_next(node)
    return NULL


cdef int ability_add(state_t* state, peer_t* peer, function_t* function, int64_t timeout_ns) noexcept nogil:
    cdef ability_t* ability = ability_find(state, peer, function)
    if ability != NULL:
        set_timeout(ability, timeout_ns)
        return FG_OK
    ability = ability_new(state, peer, function)
    if ability == NULL:
        return FG_ENOMEM
    set_timeout(ability, timeout_ns)
    function.workers += 1
    list_push_front(&peer.abilities, &ability.in_peer)
    list_push_front(&function.sleepers if peer.sleeping else &peer.unlisted, &ability.in_sleep)
    wake_for(state, function)
    return FG_OK


cdef ability_t* ability_new(state_t* state, peer_t* peer, function_t* function) noexcept nogil:
    """In the tables, on no list yet."""
    cdef ability_t* ability = <ability_t*>fg_calloc(1, sizeof(ability_t))
    if ability == NULL:
        return NULL
    ability.peer = peer
    ability.function = function
    ability.in_abilities.hash = hash_pair(peer, function)
    if bitset_add(&peer.can_do, function.id) != FG_OK:
        fg_free(ability)
        return NULL
    if table_insert(&state.abilities, &ability.in_abilities) != FG_OK:
        bitset_discard(&peer.can_do, function.id)
        fg_free(ability)
        return NULL
    return ability


cdef void set_timeout(ability_t* ability, int64_t timeout_ns) noexcept nogil:
    ability.peer.timed += (timeout_ns > 0) - (ability.timeout_ns > 0)
    ability.timeout_ns = timeout_ns


cdef void ability_drop(state_t* state, ability_t* ability) noexcept nogil:
    cdef peer_t* peer = ability.peer
    cdef function_t* function = ability.function
    set_timeout(ability, 0)
    bitset_discard(&peer.can_do, function.id)
    link_remove(&ability.in_peer)
    link_remove(&ability.in_sleep)
    table_remove(&state.abilities, &ability.in_abilities)
    function.workers -= 1
    fg_free(ability)
    if peer.woken_for == function:
        end_wake(state, peer)
        if peer.parked > 0:
            worker_sleep(state, peer)


cdef void abilities_reset(state_t* state, peer_t* peer) noexcept nogil:
    cdef link_t* link = list_first(&peer.abilities)
    while link != NULL:
        ability_drop(state, ability_from_in_peer(link))
        link = list_first(&peer.abilities)


# -- sleeping and waking ----------------------------------------------------------------------------------------------

cdef void worker_sleep(state_t* state, peer_t* peer) noexcept nogil:
    """It sleeps, unless one of its functions wants workers: then it is woken on the spot."""
    cdef ability_t* ability
    cdef ssize_t id
    worker_is_up(state, peer)
    id = bitset_last_common(&peer.can_do, &state.needy, BITSET_NO_LIMIT)
    if id >= 0:
        wake(state, peer, state.by_id[id])
        return
    peer.sleeping = True
    while not list_is_empty(&peer.unlisted):
        ability = ability_from_in_sleep(list_pop_front(&peer.unlisted))
        list_push_front(&ability.function.sleepers, &ability.in_sleep)


cdef void worker_is_up(state_t* state, peer_t* peer) noexcept nogil:
    peer.sleeping = False
    if peer.woken_for != NULL:
        end_wake(state, peer)


cdef void wake(state_t* state, peer_t* peer, function_t* function) noexcept nogil:
    peer.sleeping = False
    peer.woken_for = function
    peer.woken_ns = state.now_ns
    list_push_back(&state.woken, &peer.in_woken)
    function.wakes += 1
    function_note_need(state, function)
    if peer.parked > 0:
        list_push_back(&state.served, &peer.in_served)
        return
    state.counters.noops += 1
    send_empty(state, peer, PacketType.NOOP)


cdef void end_wake(state_t* state, peer_t* peer) noexcept nogil:
    cdef function_t* function = peer.woken_for
    fg_check(function.wakes > 0)
    peer.woken_for = NULL
    link_remove(&peer.in_woken)
    link_unlink(&peer.in_served)
    function.wakes -= 1
    wake_for(state, function)


cdef peer_t* next_sleeper(function_t* function) noexcept nogil:
    """Take the next worker off the list that really sleeps; what is stale before it goes off too."""
    cdef ability_t* ability
    while not list_is_empty(&function.sleepers):
        ability = ability_from_in_sleep(list_pop_front(&function.sleepers))
        list_push_back(&ability.peer.unlisted, &ability.in_sleep)
        if ability.peer.sleeping:
            return ability.peer
    return NULL


cdef void wake_for(state_t* state, function_t* function) noexcept nogil:
    cdef peer_t* peer
    function_note_need(state, function)
    while function_wants_workers(state, function):
        peer = next_sleeper(function)
        if peer == NULL:
            return
        wake(state, peer, function)


cdef void rescue(state_t* state, int64_t woken_before_ns) noexcept nogil:
    cdef peer_t* peer
    while not list_is_empty(&state.woken):
        peer = peer_from_in_woken(list_first(&state.woken))
        if peer.woken_ns > woken_before_ns:
            return
        state.counters.rescues += 1
        end_wake(state, peer)
