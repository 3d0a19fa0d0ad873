# SPDX-License-Identifier: MIT
"""Counts of durations in buckets whose width grows with them: 64 to each power of two, so none is wider than 1.6 %."""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    STEP_BITS = 6
    STEPS = 1 << STEP_BITS
    BUCKETS = (64 - STEP_BITS + 1) * STEPS

cdef extern from * nogil:
    int histogram_top_bit "63 - __builtin_clzll"(unsigned long long)  # of a number that is not 0

ctypedef struct histogram_t:
    uint64_t count
    double sum
    uint64_t least
    uint64_t most
    uint64_t buckets[BUCKETS]

cdef void histogram_clear(histogram_t* histogram) noexcept nogil
# What `percent` of all are not above, as the middle of its bucket; 0 when nothing was counted.
cdef uint64_t histogram_percentile(const histogram_t* histogram, double percent) noexcept nogil

cdef inline int histogram_bucket(uint64_t value) noexcept nogil:
    cdef int shift
    if value < STEPS:
        return <int>value
    shift = histogram_top_bit(value) - STEP_BITS
    return shift * STEPS + <int>(value >> shift)

# Negative ones, which no clock that only goes forward can make, count as 0.
cdef inline void histogram_add(histogram_t* histogram, int64_t duration_ns) noexcept nogil:
    cdef uint64_t value = <uint64_t>duration_ns if duration_ns > 0 else 0
    histogram.count += 1
    histogram.sum += <double>value
    if value < histogram.least:
        histogram.least = value
    if value > histogram.most:
        histogram.most = value
    histogram.buckets[histogram_bucket(value)] += 1

cdef class Histogram:
    cdef histogram_t* histogram
