# SPDX-License-Identifier: MIT
"""Both sides of the shared memory: `WorkerArea` writes, `PoolArea` looks."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject_CallObject
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from fastgear.pool.arguments cimport ArgumentsReader
from fastgear.pool.stopwatch cimport (
    stopwatch_free,
    stopwatch_lap,
    stopwatch_read,
    stopwatch_skip,
    stopwatch_start,
    stopwatch_t,
)
from fastgear.pool.values cimport NO_ROOM, put_counted, put_plain
from fastgear.server.sys cimport CLOCK_MONOTONIC, clock_ns

cdef uint64_t CLOSED = <uint64_t>1 << 63
cdef uint64_t COUNT = 0xFFFFFFFF                # the part of `claimed` that counts tasks
cdef uint64_t MOST_FRAMES = 0x7FFFFFFF          # numbers of frames begin at 1 again after this one


cdef inline uint64_t frame_word(uint64_t frame) noexcept nogil:
    return frame << FRAME_SHIFT


cdef class Area:
    """A part of shared memory: `size` bytes of `memory` from `offset` on, which is a multiple of 8."""

    def __cinit__(self, memory not None, size_t offset, size_t size, *_others):
        cdef uint8_t[::1] view = memory
        if offset + size > <size_t>view.shape[0] or size <= HEAD:
            raise ValueError("an area has to lie within its memory")
        self.area = <area_t*>&view[offset]
        self.capacity = size - HEAD
        self.memory = memory

    @property
    def owner(self):
        return shared_load(&self.area.owner)


cdef class WorkerArea(Area):
    """The worker's side. `pack` turns a value that is not plain into letter and bytes; `send` takes records that have no room."""

    cdef object pack
    cdef object send
    cdef uint64_t word          # of `claimed`, with no task begun
    cdef uint64_t begun_ns      # the frame
    cdef stopwatch_t watch
    cdef bint is_lost           # this process is a fork of the one that owns it

    def __init__(self, memory, size_t offset, size_t size, pack, send):
        self.pack = pack
        self.send = send

    def __dealloc__(self):
        stopwatch_free(&self.watch)

    def own(self, uint64_t pid):
        """Take a free area; False when another worker was faster."""
        if not shared_swap(&self.area.owner, 0, pid):
            return False
        shared_store(&self.area.done, 0)
        return True

    def begin(self, uint64_t frame):
        """A frame is in hand."""
        shared_store(&self.area.used, 0)
        shared_store(&self.area.base, 0)
        self.word = frame_word(frame)
        stopwatch_start(&self.watch)
        self.begun_ns = self.watch.mark_ns
        shared_store(&self.area.begun_ns, self.begun_ns)
        shared_store(&self.area.claimed, self.word)

    def result(self):
        """Of the frame: the records that are still here, laps, and trailer, see frame.py."""
        cdef uint64_t elapsed_ns = clock_ns(CLOCK_MONOTONIC) - self.begun_ns
        cdef uint32_t laps = self.watch.count if self.watch.count > 1 else 0  # one is the whole frame
        cdef size_t used = self.area.used
        cdef size_t laps_size = laps * sizeof(uint64_t)
        cdef bytes result = PyBytes_FromStringAndSize(NULL, used + laps_size + sizeof(elapsed_ns) + sizeof(laps))
        cdef char* to = PyBytes_AS_STRING(result)
        memcpy(to, self.area.records, used)
        if laps:
            memcpy(to + used, self.watch.laps, laps_size)
        memcpy(to + used + laps_size, &elapsed_ns, sizeof(elapsed_ns))
        memcpy(to + used + laps_size + sizeof(elapsed_ns), &laps, sizeof(laps))
        return result

    def end(self):
        """The frame has left, with all its records; none is in hand."""
        shared_store(&self.area.done, self.area.done + (shared_load(&self.area.claimed) & COUNT))
        shared_store(&self.area.claimed, 0)

    def lose(self):
        """In a fork, which must neither begin tasks nor record any: its parent does."""
        self.is_lost = True

    def leave(self):
        """Give the area back."""
        shared_store(&self.area.claimed, 0)
        shared_store(&self.area.owner, 0)

    def call_each(self, function, list items not None, bint star):
        """Call it with each of the items in turn, and record what comes of it; the pool may call a halt in between."""
        cdef object item
        stopwatch_skip(&self.watch)
        for item in items:
            if not self.claim():
                break
            try:
                value = function(*item) if star else function(item)
            except BaseException as error:
                self.record_failure(error)
            else:
                self.record(value)
                value = None
            stopwatch_lap(&self.watch)
        stopwatch_read(&self.watch)

    def call_all(self, function, Py_ssize_t count, bytes arguments not None, list others not None, unpack):
        """Call it with the arguments of each of so many calls; False when the pool has called a halt. `unpack` is given one of
        `others` for those that are not here, and returns arguments and keywords."""
        cdef ArgumentsReader reader = ArgumentsReader(arguments)
        cdef bint goes_on = True
        cdef tuple args
        elsewhere = iter(others)
        stopwatch_skip(&self.watch)
        for _ in range(count):
            args = reader.next()
            if args is None:
                goes_on = self.call_other(function, next(elsewhere), unpack)
            else:
                goes_on = self.call(function, args, None)
            if not goes_on:
                break
        stopwatch_read(&self.watch)  # the next function has laps of its own
        return goes_on

    cdef bint call_other(self, function, sent, unpack) except -1:
        try:
            args, kwargs = unpack(sent)
        except BaseException as error:
            return self.fail(error)
        return self.call(function, args, kwargs)

    cdef bint call(self, function, tuple args, kwargs) except -1:
        """One task; False when the pool has called a halt."""
        if not self.claim():
            return False
        try:
            value = PyObject_CallObject(function, args) if not kwargs else function(*args, **kwargs)
        except BaseException as error:
            self.record_failure(error)
        else:
            self.record(value)
        stopwatch_lap(&self.watch)
        return True

    def fail(self, error not None):
        """A task that could not even be begun; False when the pool has called a halt."""
        if not self.claim():
            return False
        self.record_failure(error)
        stopwatch_lap(&self.watch)
        return True

    cdef bint claim(self) noexcept:
        cdef uint64_t claimed = shared_load(&self.area.claimed)
        return not self.is_lost and not claimed & CLOSED and shared_swap(&self.area.claimed, claimed, claimed + 1)

    cdef int record(self, value) except -1:
        if self.is_lost:
            return 0
        cdef size_t used = self.area.used
        cdef Py_ssize_t written = put_plain(self.area.records + used, self.capacity - used, value)
        if written == NO_ROOM and used > 0:
            self.flush()
            used = 0
            written = put_plain(self.area.records, self.capacity, value)
        if written >= 0:
            shared_store(&self.area.used, used + written)
        else:
            self.record_packed(value, b"B" if type(value) is bytes else b"P")
        return 0

    cdef int record_failure(self, error) except -1:
        return self.record_packed(error, b"X")

    cdef int record_packed(self, value, bytes letter) except -1:
        """Beside what is here, or instead of it, or past it when it is larger than all the room."""
        cdef bytes data
        if self.is_lost:
            return 0
        letter, data = self.pack(letter, value)
        cdef size_t size = <size_t>PyBytes_GET_SIZE(data) + 5
        cdef size_t used = self.area.used
        if used + size > self.capacity and used > 0:
            self.flush()
            used = 0
        if size > self.capacity:
            self.send(letter + (<uint32_t>PyBytes_GET_SIZE(data)).to_bytes(4, "little") + data)
            shared_store(&self.area.base, shared_load(&self.area.claimed) & COUNT)
            return 0
        put_counted(self.area.records + used, PyBytes_AS_STRING(letter)[0], <const uint8_t*>PyBytes_AS_STRING(data),
                    PyBytes_GET_SIZE(data))
        shared_store(&self.area.used, used + size)
        return 0

    cdef int flush(self) except -1:
        """All records but that of the task in hand leave."""
        self.send(PyBytes_FromStringAndSize(<const char*>self.area.records, self.area.used))
        shared_store(&self.area.used, 0)  # before the base: a pool that looks in between has got those records already
        shared_store(&self.area.base, (shared_load(&self.area.claimed) & COUNT) - 1)
        return 0


cdef class PoolArea(Area):
    """The pool's side. A frame is asked for by its number, since the worker may be at another one by now."""

    def clear(self):
        """For the next worker, once this one is dead and its frame settled."""
        shared_store(&self.area.claimed, 0)
        shared_store(&self.area.owner, 0)

    @property
    def frame(self):
        """The number of the frame in hand; 0 for none."""
        return shared_load(&self.area.claimed) >> FRAME_SHIFT & MOST_FRAMES

    @property
    def claimed(self):
        """How many of its tasks were begun."""
        return shared_load(&self.area.claimed) & COUNT

    @property
    def tasks(self):
        """How many the worker has begun, of all frames."""
        return shared_load(&self.area.done) + self.claimed

    def close(self, uint64_t frame):
        """Let no more tasks of it be begun, and return how many were; -1 when the worker is at another frame."""
        cdef uint64_t claimed
        while True:
            claimed = shared_load(&self.area.claimed)
            if (claimed & ~CLOSED) >> FRAME_SHIFT != frame:
                return -1
            if claimed & CLOSED or shared_swap(&self.area.claimed, claimed, claimed | CLOSED):
                return claimed & COUNT

    def look(self, uint64_t frame):
        """How many tasks' records have left, and the records that are here; None when the worker is at another frame."""
        cdef uint64_t base = shared_load(&self.area.base)
        cdef uint64_t used = shared_load(&self.area.used)
        cdef bytes records = PyBytes_FromStringAndSize(NULL, min(used, <uint64_t>self.capacity))
        memcpy(PyBytes_AS_STRING(records), self.area.records, PyBytes_GET_SIZE(records))
        if self.frame != frame or shared_load(&self.area.base) != base:
            return None
        return base, records
