# SPDX-License-Identifier: MIT
"""A log-linear histogram. Adding takes a few nanoseconds and no memory; what comes out is within 0.8 % of what went in."""

from libc.math cimport ceil
from libc.string cimport memset

from fastgear.base.alloc cimport fg_free, fg_malloc


cdef void histogram_clear(histogram_t* histogram) noexcept nogil:
    memset(histogram, 0, sizeof(histogram_t))
    histogram.least = ~<uint64_t>0


cdef inline uint64_t bucket_middle(int bucket) noexcept nogil:
    cdef int shift
    if bucket < 2 * STEPS:
        return bucket
    shift = bucket // STEPS - 1
    return (<uint64_t>(bucket - shift * STEPS) << shift) + (<uint64_t>1 << (shift - 1))


cdef uint64_t histogram_percentile(const histogram_t* histogram, double percent) noexcept nogil:
    cdef uint64_t seen = 0, rank = <uint64_t>ceil(percent / 100.0 * <double>histogram.count)
    cdef uint64_t value
    cdef int bucket
    if histogram.count == 0:
        return 0
    if rank >= histogram.count:
        return histogram.most
    for bucket in range(BUCKETS):
        seen += histogram.buckets[bucket]
        if seen >= rank and seen > 0:
            value = bucket_middle(bucket)
            return histogram.least if value < histogram.least else histogram.most if value > histogram.most else value
    return histogram.most


cdef class Histogram:
    """Durations in nanoseconds."""

    def __cinit__(self):
        self.histogram = <histogram_t*>fg_malloc(sizeof(histogram_t))
        if self.histogram == NULL:
            raise MemoryError()
        histogram_clear(self.histogram)

    def __dealloc__(self):
        fg_free(self.histogram)

    def add(self, int64_t duration_ns):
        histogram_add(self.histogram, duration_ns)

    def percentile(self, double percent):
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is from 0 to 100, not {percent:g}")
        return histogram_percentile(self.histogram, percent)

    def __len__(self):
        return self.histogram.count

    @property
    def least(self):
        return self.histogram.least if self.histogram.count > 0 else 0

    @property
    def most(self):
        return self.histogram.most

    @property
    def mean(self):
        return self.histogram.sum / self.histogram.count if self.histogram.count > 0 else 0.0
