# SPDX-License-Identifier: MIT
"""Laps of tasks. See stopwatch.pxd."""

from fastgear.base.alloc cimport fg_free, fg_realloc
from fastgear.server.sys cimport CLOCK_MONOTONIC, clock_ns


cdef void stopwatch_start(stopwatch_t* self) noexcept nogil:
    self.count = 0
    self.pending = 0
    self.stride = 1
    self.mark_ns = clock_ns(CLOCK_MONOTONIC)


cdef void stopwatch_skip(stopwatch_t* self) noexcept nogil:
    self.mark_ns = clock_ns(CLOCK_MONOTONIC)


cdef void stopwatch_read(stopwatch_t* self) noexcept nogil:
    cdef uint64_t now_ns = clock_ns(CLOCK_MONOTONIC)
    cdef uint64_t lap_ns = now_ns - self.mark_ns
    if self.pending == 0:
        return
    if self.count < self.room or grow(self):
        self.laps[self.count] = lap_ns << LAP_SHIFT | self.pending
        self.count += 1
    self.stride = min(<uint32_t>MOST_STRIDE, self.stride * 2) if lap_ns < FINE_NS * self.pending else 1
    self.pending = 0
    self.mark_ns = now_ns


cdef bint grow(stopwatch_t* self) noexcept nogil:
    """Without memory a lap is missing, and nothing else."""
    cdef size_t room = self.room * 2 if self.room else 64
    cdef uint64_t* laps = <uint64_t*>fg_realloc(self.laps, room * sizeof(uint64_t))
    if laps == NULL:
        return False
    self.laps = laps
    self.room = room
    return True


cdef void stopwatch_free(stopwatch_t* self) noexcept nogil:
    fg_free(self.laps)
    self.laps = NULL
    self.count = self.room = 0
