# SPDX-License-Identifier: MIT
"""What the tasks of each function have taken, counted as frames come back: totals, a histogram, and the slowest."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from fastgear.pool.stopwatch cimport LAP_SHIFT

from fastgear.types import PoolFunctionInfo, SlowTask

cdef enum:
    FINE = 16                   # buckets in each doubling of the duration
    FINE_SHIFT = 4
    BUCKETS = 53 * FINE         # up to 2 ** 56 ns, which is what a lap can hold
    SLOWEST = 5
    MOST_NAMES = 1000           # functions beyond go by one name together

cdef extern from *:
    int clz "__builtin_clzll"(unsigned long long value) nogil


cdef inline int bucket_of(uint64_t ns) noexcept nogil:
    cdef int doubling
    if ns < FINE:
        return <int>ns
    doubling = 63 - clz(ns)
    return (doubling - FINE_SHIFT + 1) * FINE + <int>(ns >> (doubling - FINE_SHIFT) & (FINE - 1))


cdef inline double middle_of(int bucket) noexcept nogil:
    cdef int shift = bucket // FINE - 1
    if shift < 0:
        return bucket
    return <double>(<uint64_t>(FINE + bucket % FINE) << shift) + <double>(<uint64_t>1 << shift) / 2


cdef class Tally:
    """Of one function's tasks."""

    cdef str name
    cdef uint64_t count
    cdef uint64_t total_ns
    cdef uint64_t buckets[BUCKETS]
    cdef uint64_t enough_ns     # what a task must have taken, at least, to be among the slowest
    cdef list slowest           # (nanoseconds, tasks, text)

    def __cinit__(self, str name):
        self.name = name
        self.slowest = []

    cdef inline bint add(self, uint64_t lap) noexcept:
        """Whether the lap is among the slowest."""
        cdef uint64_t ns = lap >> LAP_SHIFT
        cdef uint64_t tasks = lap & ((1 << LAP_SHIFT) - 1)
        self.count += tasks
        self.total_ns += ns
        self.buckets[bucket_of(ns // tasks if tasks > 1 else ns)] += tasks
        return ns > self.enough_ns

    cdef keep(self, uint64_t ns, uint64_t tasks, str text):
        self.slowest.append((ns, tasks, text))
        self.slowest.sort(reverse=True)
        del self.slowest[SLOWEST:]
        if len(self.slowest) == SLOWEST:
            self.enough_ns = self.slowest[-1][0]

    cdef double percentile(self, double share) noexcept:
        cdef uint64_t wanted = max(<uint64_t>1, <uint64_t>(share * self.count + 0.999999))
        cdef uint64_t seen = 0
        cdef int bucket
        for bucket in range(BUCKETS):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return middle_of(bucket) / 1e9
        return 0.0

    cdef info(self):
        return PoolFunctionInfo(
            name=self.name,
            count=self.count,
            total_s=self.total_ns / 1e9,
            p50_s=self.percentile(0.5),
            p99_s=self.percentile(0.99),
            slowest=tuple(SlowTask(duration_s=ns / 1e9, tasks=tasks, text=text) for ns, tasks, text in self.slowest),
        )


cdef class Tallies:
    """By name. For one thread at a time."""

    cdef dict by_name

    def __init__(self):
        self.by_name = {}

    def take_one(self, source, task, uint64_t ns):
        """A frame of one task."""
        cdef str name = source.name
        cdef Tally tally = self.of(task.name if name is None else name)
        if tally.add(ns << LAP_SHIFT | 1):
            tally.keep(ns, 1, source.describe_shortly(task))

    def take(self, source, tasks not None, bytes data not None, size_t start, size_t laps):
        """A frame's laps, which are in `data` from `start` on, one after the other as its tasks were."""
        cdef str name = source.name
        cdef Tally tally = None if name is None else self.of(name)
        cdef const char* from_ = PyBytes_AS_STRING(data) + start
        cdef size_t index
        cdef Py_ssize_t at = 0
        cdef uint64_t lap
        if start + laps * sizeof(uint64_t) > <size_t>PyBytes_GET_SIZE(data):
            raise ValueError("the laps of a worker are cut off")
        for index in range(laps):
            memcpy(&lap, from_ + index * sizeof(uint64_t), sizeof(uint64_t))
            if at >= len(tasks):
                return
            if name is None:
                tally = self.of(tasks[at].name) if tally is None or tally.name is not tasks[at].name else tally
            if tally.add(lap):
                tally.keep(lap >> LAP_SHIFT, lap & ((1 << LAP_SHIFT) - 1), source.describe_shortly(tasks[at]))
            at += lap & ((1 << LAP_SHIFT) - 1)

    cdef Tally of(self, str name):
        cdef Tally tally = self.by_name.get(name)
        if tally is None and len(self.by_name) >= MOST_NAMES:
            name = "others"
            tally = self.by_name.get(name)
        if tally is None:
            tally = self.by_name[name] = Tally(name)
        return tally

    def infos(self):
        """Of all functions, that which has taken longest first."""
        cdef Tally tally
        return tuple(sorted([tally.info() for tally in self.by_name.values()], key=lambda one: -one.total_s))
