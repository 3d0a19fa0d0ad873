# SPDX-License-Identifier: MIT
"""Calendar arithmetic for scheduled jobs: proleptic Gregorian, in UTC, without the C library's time zones."""

from fastgear.protocol.text cimport parse_i64

cdef enum:
    DAY_S = 86400
    MINUTES = 1440              # of a day
    MOST_DAYS = 14976           # 41 years: a 29 February that is a given weekday comes within 40

cdef int64_t LEAST[SCHEDULE_FIELDS]
cdef int64_t MOST[SCHEDULE_FIELDS]
LEAST[:] = [0, 0, 1, 1, 0]
MOST[:] = [59, 23, 31, 12, 6]

ctypedef struct day_t:
    int64_t number              # days since 1970-01-01
    int64_t year
    int64_t month               # 1 to 12
    int64_t day                 # 1 to 31


cdef bint schedule_read(const slice_t* arguments, schedule_t* schedule) noexcept nogil:
    cdef int i
    for i in range(SCHEDULE_FIELDS):
        if arguments[i].length == 0 or (arguments[i].length == 1 and arguments[i].bytes[0] == c"*"):
            schedule.fields[i] = -1
        elif not parse_i64(arguments[i], &schedule.fields[i]):
            return False
        elif schedule.fields[i] < LEAST[i] or schedule.fields[i] > MOST[i]:
            return False
    return True


cdef inline bint fits(const schedule_t* schedule, int field, int64_t value) noexcept nogil:
    return schedule.fields[field] < 0 or schedule.fields[field] == value


cdef inline int64_t length_of_month(int64_t year, int64_t month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


cdef void day_init(day_t* day, int64_t now_s) noexcept nogil:
    """From the number of the day to its date, month by month from 1970: some hundred steps."""
    cdef int64_t left = now_s // DAY_S
    day.number = left
    day.year, day.month = 1970, 1
    while left >= length_of_month(day.year, day.month):
        left -= length_of_month(day.year, day.month)
        day.month += 1
        if day.month > 12:
            day.year, day.month = day.year + 1, 1
    day.day = left + 1


cdef inline void day_advance(day_t* day) noexcept nogil:
    day.number += 1
    day.day += 1
    if day.day > length_of_month(day.year, day.month):
        day.day = 1
        day.month += 1
    if day.month > 12:
        day.month = 1
        day.year += 1


cdef inline bint day_fits(const schedule_t* schedule, const day_t* day) noexcept nogil:
    """Monday is 0, by the document; 1970 began on a Thursday."""
    return (
        fits(schedule, MONTH, day.month) and fits(schedule, DAY, day.day) and fits(schedule, WEEKDAY, (day.number + 3) % 7)
    )


cdef int64_t minute_from(const schedule_t* schedule, int64_t first) noexcept nogil:
    """The first fitting minute of a day, from `first` on; -1 when there is none left."""
    cdef int64_t minute
    for minute in range(first, MINUTES):
        if fits(schedule, HOUR, minute // 60) and fits(schedule, MINUTE, minute % 60):
            return minute
    return -1


cdef int64_t schedule_next(const schedule_t* schedule, int64_t now_s) noexcept nogil:
    cdef day_t day
    cdef int64_t minute, first = now_s % DAY_S // 60 + 1
    cdef int _i
    day_init(&day, now_s)
    for _i in range(MOST_DAYS):
        if day_fits(schedule, &day):
            minute = minute_from(schedule, first)
            if minute >= 0:
                return day.number * DAY_S + minute * 60
        day_advance(&day)
        first = 0
    return -1
