# SPDX-License-Identifier: MIT
"""The turns of a loop. All but `run` are for who holds loop.lock."""

from fastgear.server.model cimport loop_t

# The loop's own thread: until a request stops it and what is under way has arrived; everything is closed then.
cdef void run(loop_t* loop) noexcept nogil
# One turn, waiting for no longer than most_ms (-1: as long as there is nothing to do). -1 when a signal ended the wait.
cdef int turn(loop_t* loop, int most_ms) noexcept nogil
cdef void set_time(loop_t* loop) noexcept nogil
# The end of what is not a turn, and has changed something all the same.
cdef void free_all_dead(loop_t* loop) noexcept nogil
cdef void offer_to_store(loop_t* loop) noexcept nogil
