# SPDX-License-Identifier: MIT
"""How long each task of a frame takes, for next to nothing: the clock is read after each task where that is little
compared with the task, and only now and then where tasks are tiny.

A lap is what lies between two readings: some tasks, mostly one, and their nanoseconds together.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

ctypedef struct stopwatch_t:
    uint64_t mark_ns            # the last reading; on the monotonic clock
    uint32_t stride             # tasks to the next one
    uint32_t pending            # of them, those that are done
    uint64_t* laps              # owned; nanoseconds << LAP_SHIFT | tasks
    size_t count
    size_t room

cdef enum:
    LAP_SHIFT = 8
    MOST_STRIDE = 64
    FINE_NS = 2000              # a task that takes longer is worth a reading, of some 30 ns, of its own

# No laps yet; the first begins now.
cdef void stopwatch_start(stopwatch_t* self) noexcept nogil

# What has passed since the last lap does not count.
cdef void stopwatch_skip(stopwatch_t* self) noexcept nogil

# Read the clock and keep a lap of the pending tasks, if there are any.
cdef void stopwatch_read(stopwatch_t* self) noexcept nogil

cdef void stopwatch_free(stopwatch_t* self) noexcept nogil


cdef inline void stopwatch_lap(stopwatch_t* self) noexcept nogil:
    """A task is done."""
    self.pending += 1
    if self.pending >= self.stride:
        stopwatch_read(self)
