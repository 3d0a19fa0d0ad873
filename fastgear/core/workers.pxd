# SPDX-License-Identifier: MIT
"""What workers can do, and who of them sleeps and is woken."""

from libc.stdint cimport int64_t

from fastgear.base.list cimport link_t
from fastgear.core.model cimport ability_t, function_t, peer_t, state_t

cdef void workers_init(state_t* state) noexcept nogil
cdef void workers_free(state_t* state) noexcept nogil

cdef ability_t* ability_find(state_t* state, peer_t* peer, function_t* function) noexcept nogil
# Let peer do function; doing so again only changes the timeout. FG_OK or FG_ENOMEM.
cdef int ability_add(state_t* state, peer_t* peer, function_t* function, int64_t timeout_ns) noexcept nogil
cdef void ability_drop(state_t* state, ability_t* ability) noexcept nogil
cdef void abilities_reset(state_t* state, peer_t* peer) noexcept nogil

cdef void worker_sleep(state_t* state, peer_t* peer) noexcept nogil
# It grabs, or leaves: it is awake, and a NOOP that was under way has served its purpose.
cdef void worker_is_up(state_t* state, peer_t* peer) noexcept nogil
# Wake sleepers for the function until there are enough for its queued jobs, or none is left. After every change of either.
cdef void wake_for(state_t* state, function_t* function) noexcept nogil
# Give company to the workers that were woken before the deadline and have not grabbed.
cdef void rescue(state_t* state, int64_t woken_before_ns) noexcept nogil

cdef inline peer_t* peer_from_in_served(link_t* link) noexcept nogil:
    return <peer_t*>(<char*>link - <size_t>&(<peer_t*>NULL).in_served)

cdef inline ability_t* ability_from_in_peer(link_t* link) noexcept nogil:
    return <ability_t*>(<char*>link - <size_t>&(<ability_t*>NULL).in_peer)

cdef inline ability_t* ability_from_in_sleep(link_t* link) noexcept nogil:
    return <ability_t*>(<char*>link - <size_t>&(<ability_t*>NULL).in_sleep)

cdef inline peer_t* peer_from_in_woken(link_t* link) noexcept nogil:
    return <peer_t*>(<char*>link - <size_t>&(<peer_t*>NULL).in_woken)
