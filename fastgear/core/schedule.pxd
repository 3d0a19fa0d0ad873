# SPDX-License-Identifier: MIT
"""When a scheduled job is due: the next minute, in UTC, that fits what SUBMIT_JOB_SCHED says."""

from libc.stdint cimport int64_t

from fastgear.protocol.packet cimport slice_t

cdef enum:                      # the arguments of SUBMIT_JOB_SCHED, in their order
    MINUTE = 0
    HOUR = 1
    DAY = 2
    MONTH = 3
    WEEKDAY = 4
    SCHEDULE_FIELDS = 5

ctypedef struct schedule_t:
    long long fields[SCHEDULE_FIELDS]  # -1: any

# Numbers in their ranges, or nothing (also *) for any; False for anything else.
cdef bint schedule_read(const slice_t* arguments, schedule_t* schedule) noexcept nogil

# Seconds since 1970 of the first fitting minute that begins after now_s; -1 when there is none, as for 30 February.
cdef int64_t schedule_next(const schedule_t* schedule, int64_t now_s) noexcept nogil
