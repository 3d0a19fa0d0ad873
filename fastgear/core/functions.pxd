# SPDX-License-Identifier: MIT
"""Functions by name and by id, and the bits that say which of them have jobs and which want workers."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from fastgear.base.bitset cimport bitset_add, bitset_discard
from fastgear.core.model cimport HIGH, LOW, NORMAL, function_t, state_t
from fastgear.protocol.packet cimport slice_t

cdef void functions_init(state_t* state) noexcept nogil
cdef void functions_free(state_t* state) noexcept nogil

cdef function_t* function_find(state_t* state, slice_t name) noexcept nogil
cdef function_t* function_find_or_create(state_t* state, slice_t name) noexcept nogil  # NULL: no memory

# True when nothing refers to it, and it is gone now.
cdef bint function_drop(state_t* state, function_t* function) noexcept nogil

cdef inline slice_t function_name(const function_t* function) noexcept nogil:
    cdef slice_t name
    name.bytes = <const uint8_t*>function.name
    name.length = function.name_length
    return name

cdef inline uint64_t function_queued(const function_t* function) noexcept nogil:
    return <uint64_t>function.queued[HIGH] + function.queued[NORMAL] + function.queued[LOW]

cdef inline uint64_t function_total(const function_t* function) noexcept nogil:
    """All its jobs, as gearmand counts them in `status`."""
    return function_queued(function) + function.delayed + function.running

cdef inline bint function_wants_workers(const state_t* state, const function_t* function) noexcept nogil:
    """Whether more sleepers should be woken: there are more queued jobs than wakes under way for them."""
    cdef uint64_t queued = function_queued(function)
    if state.settings.worker_wakeup == 0:
        return queued > 0
    return queued * state.settings.worker_wakeup > function.wakes

cdef inline void function_note_need(state_t* state, function_t* function) noexcept nogil:
    """Set its bit in state.needy as it must be; after every change of queued or wakes."""
    cdef bint needy = function_wants_workers(state, function)
    if needy == function.needy:
        return
    function.needy = needy
    if needy:
        bitset_add(&state.needy, function.id)
    else:
        bitset_discard(&state.needy, function.id)
