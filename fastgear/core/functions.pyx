# SPDX-License-Identifier: MIT
"""The functions of a server: found by name, numbered for the bit sets. Knows no jobs and no workers beyond their counts."""

from libc.string cimport memcmp, memcpy

from fastgear.base.alloc cimport fg_calloc, fg_free, fg_realloc
from fastgear.base.bitset cimport bitset_free, bitset_init
from fastgear.base.check cimport fg_check
from fastgear.base.hash cimport hash_bytes
from fastgear.base.list cimport list_init, list_is_empty
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.base.table cimport (
    table_first, table_free, table_init, table_insert, table_next, table_node_t, table_remove,
)
from fastgear.core.model cimport NAMED, PRIORITIES


cdef void functions_init(state_t* state) noexcept nogil:
    cdef int priority
    table_init(&state.functions)
    bitset_init(&state.needy)
    for priority in range(PRIORITIES):
        bitset_init(&state.ready[priority])


cdef void functions_free(state_t* state) noexcept nogil:
    cdef size_t id
    cdef int priority
    for id in range(state.by_id_length):
        if state.by_id[id] != NULL:
            table_remove(&state.functions, &state.by_id[id].in_functions)
            fg_free(state.by_id[id])
    fg_free(state.by_id)
    table_free(&state.functions)
    bitset_free(&state.needy)
    for priority in range(PRIORITIES):
        bitset_free(&state.ready[priority])


cdef inline uint64_t hash_name(const state_t* state, slice_t name) noexcept nogil:
    return hash_bytes(name.bytes, name.length, state.hash_key[0], state.hash_key[1])


cdef inline bint is_named(const function_t* function, slice_t name) noexcept nogil:
    return function.name_length == name.length and memcmp(function.name, name.bytes, name.length) == 0


cdef function_t* find_hashed(state_t* state, slice_t name, uint64_t hash) noexcept nogil:
    cdef table_node_t* node = table_first(&state.functions, hash)
    while node != NULL:
        if is_named(<function_t*>node, name):  # in_functions is the first member
            return <function_t*>node
        node = table_next(node)
    return NULL


cdef inline function_t** place_in_named(state_t* state, slice_t name) noexcept nogil:
    """Clients name the same few functions again and again, and a keyed hash is dear."""
    if name.length == 0:
        return &state.named[0]
    return &state.named[(name.length + name.bytes[name.length - 1] + name.bytes[name.length // 2]) % NAMED]


cdef function_t* function_find(state_t* state, slice_t name) noexcept nogil:
    cdef function_t** place = place_in_named(state, name)
    if place[0] == NULL or not is_named(place[0], name):
        place[0] = find_hashed(state, name, hash_name(state, name))
    return place[0]


cdef function_t* function_find_or_create(state_t* state, slice_t name) noexcept nogil:
    cdef function_t* function = function_find(state, name)
    return function if function != NULL else create(state, name, hash_name(state, name))


cdef function_t* create(state_t* state, slice_t name, uint64_t hash) noexcept nogil:
    cdef function_t* function = <function_t*>fg_calloc(1, sizeof(function_t) + name.length)
    cdef int priority
    if function == NULL:
        return NULL
    list_init(&function.sleepers)
    for priority in range(PRIORITIES):
        list_init(&function.queue[priority])
        function.max_queue[priority] = state.settings.max_queue
    function.name_length = name.length
    memcpy(function.name, name.bytes, name.length)
    function.in_functions.hash = hash
    if take_id(state, function) != FG_OK:
        fg_free(function)
        return NULL
    if reserve_bits(state, function.id) != FG_OK or table_insert(&state.functions, &function.in_functions) != FG_OK:
        give_id_back(state, function)
        fg_free(function)
        return NULL
    return function


cdef int take_id(state_t* state, function_t* function) noexcept nogil:
    """Give it the smallest free id, so that the bit sets stay short."""
    cdef size_t id = state.first_free_id
    cdef size_t capacity
    cdef void* grown
    if id == state.by_id_capacity:
        capacity = 64 if state.by_id_capacity == 0 else state.by_id_capacity * 2
        grown = fg_realloc(state.by_id, capacity * sizeof(function_t*))
        if grown == NULL:
            return FG_ENOMEM
        state.by_id = <function_t**>grown
        state.by_id_capacity = capacity
    state.by_id[id] = function
    function.id = id
    if id == state.by_id_length:
        state.by_id_length += 1
    state.first_free_id = id + 1
    while state.first_free_id < state.by_id_length and state.by_id[state.first_free_id] != NULL:
        state.first_free_id += 1
    return FG_OK


cdef void give_id_back(state_t* state, function_t* function) noexcept nogil:
    state.by_id[function.id] = NULL
    if function.id < state.first_free_id:
        state.first_free_id = function.id
    while state.by_id_length > 0 and state.by_id[state.by_id_length - 1] == NULL:
        state.by_id_length -= 1


cdef int reserve_bits(state_t* state, size_t id) noexcept nogil:
    """Let the bit sets grow to this id now, so that setting its bits cannot fail later."""
    cdef int status = bitset_add(&state.needy, id)
    cdef int priority
    bitset_discard(&state.needy, id)
    for priority in range(PRIORITIES):
        status |= bitset_add(&state.ready[priority], id)
        bitset_discard(&state.ready[priority], id)
    return status


cdef bint function_drop(state_t* state, function_t* function) noexcept nogil:
    if function.workers > 0 or function.wakes > 0 or function_total(function) > 0:
        return False
    fg_check(list_is_empty(&function.sleepers))
    place_in_named(state, function_name(function))[0] = NULL
    bitset_discard(&state.needy, function.id)
    give_id_back(state, function)
    table_remove(&state.functions, &function.in_functions)
    fg_free(function)
    return True
