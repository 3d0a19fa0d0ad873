# SPDX-License-Identifier: MIT
"""Memory for large buffers on their way between a pool and its workers: a sparse memfd, of which each process writes one part.

Part 0 is the pool's, for arguments; each area of the pool has one for results. A part is a row of slots, each of which holds
one buffer at a time and is used again: memory that was touched before is ten times as fast as fresh memory. A slot is free or
busy. What the pool writes is busy as long as the pool has a Lease, and is not written over before its readers, each of which
has a bit for that, are done with it. What a worker writes is busy until the pool's last Segment of it is gone. Pages are
written with pwrite at first, which fails where memory is full; touching them would kill us. All state is in the memory
itself, so that the pool can clear up after a worker's death.

What a process knows of its own beside that is guarded by the GIL, or where there is none by the arena's critical section. Both
are given up while data is copied and memory given back: whoever does that counts among the `live`.
"""

import os
import weakref

cimport cython

from cpython.buffer cimport (
    PyBUF_FULL_RO, PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.memoryview cimport PyMemoryView_FromObject
from libc.errno cimport EINTR, errno
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from fastgear.base.alloc cimport fg_calloc, fg_free

from fastgear.errors import TransferError
from fastgear.pool.memfd import memory_descriptor

cdef size_t MOST_ADDRESSES = <size_t>1 << 45        # for all parts
cdef uint64_t LOW = 64 << 20                        # bytes that are kept for good
cdef unsigned long forks = 0    # how often this process is a fork of the one that loaded this module


@cython.final
cdef class Arena:
    """`parts` of it; at most `limit` bytes of memory in all, 0 for none.

    Given to other processes as Memory is. `join` says which part this process writes; then `put` and `view` work.
    """

    cdef readonly int fd
    cdef readonly size_t limit
    cdef readonly int parts
    cdef readonly int part              # ours; -1 before we join
    cdef size_t span                    # bytes of a part
    cdef size_t table_size
    cdef int stride                     # words for the readers of one slot of part 0
    cdef bint closed
    cdef unsigned long fork             # whose it is: a later fork of this process may look, and change nothing
    cdef size_t live                    # Segments and Leases
    cdef uint8_t* table                 # head, parts, slots, readers
    cdef uint8_t** bases                # of the parts, where they are mapped here
    cdef uint8_t* notes                 # owned: the next three. Mapped, so that only what is used of them takes memory, and time
    cdef uint32_t* counts               # Segments here, for each slot
    cdef uint64_t* seen                 # words at the last `tidy`
    cdef int32_t* following             # of each slot of our part, the next one of its class
    cdef int32_t heads[CLASSES]
    cdef uint64_t tried[CLASSES]        # releases when no free slot was found last, plus one

    def __cinit__(self, int parts, size_t limit, int fd=-1):
        self.parts, self.limit, self.part, self.fd = parts, limit, -1, -1
        self.stride = (parts + 63) // 64
        self.span = aligned(max(<size_t>1 << 26, min(limit * 8, MOST_ADDRESSES // parts)))
        self.table_size = aligned(
            sizeof(head_t) + parts * sizeof(part_t) + <size_t>parts * SLOTS * sizeof(slot_t) + SLOTS * 8 * self.stride
        )
        if fd < 0:
            self.fd = memory_descriptor("fastgear-arena")
            os.ftruncate(self.fd, self.table_size + parts * self.span)
        else:
            self.fd = fd
            os.set_inheritable(fd, False)
        self.table = <uint8_t*>map_shared(self.fd, self.table_size, 0)
        if self.table == NULL:
            raise MemoryError("there is no address space for a pool's shared memory")

    def __reduce__(self):
        """For a process that is executed and has inherited the descriptor."""
        return Arena, (self.parts, self.limit, self.fd)

    def __dealloc__(self):
        self.unmap()
        if self.fd >= 0:
            os.close(self.fd)

    cdef void unmap(self) noexcept:
        cdef int part
        if self.bases != NULL:
            for part in range(self.parts):
                if self.bases[part] != NULL:
                    munmap(self.bases[part], self.span)
        if self.table != NULL:
            munmap(self.table, self.table_size)
        fg_free(self.bases)
        if self.notes != NULL:
            munmap(self.notes, self.notes_size())
        self.table, self.bases, self.notes, self.counts, self.seen, self.following = NULL, NULL, NULL, NULL, NULL, NULL

    cdef size_t notes_size(self) noexcept:
        return <size_t>self.parts * SLOTS * (sizeof(uint64_t) + sizeof(uint32_t)) + SLOTS * sizeof(int32_t)

    # -- where things are

    cdef inline head_t* head(self) noexcept:
        return <head_t*>self.table

    cdef inline part_t* row(self, int part) noexcept:
        return <part_t*>(self.table + sizeof(head_t)) + part

    cdef inline slot_t* slot(self, size_t index) noexcept:
        """By its number among those of all parts."""
        return <slot_t*>(self.table + sizeof(head_t) + self.parts * sizeof(part_t)) + index

    cdef inline uint64_t* readers(self, size_t index) noexcept:
        """Of a slot of part 0."""
        return <uint64_t*>(self.slot(<size_t>self.parts * SLOTS)) + index * self.stride

    cdef inline long place_of(self, size_t index) noexcept:
        return self.table_size + (index // SLOTS) * self.span + self.slot(index).offset

    cdef uint8_t* base(self, int part) noexcept:
        """Where a part is mapped; NULL when there is no address space for it."""
        if self.bases[part] == NULL:
            self.bases[part] = <uint8_t*>map_shared(self.fd, self.span, self.table_size + part * self.span)
        return self.bases[part]

    @property
    def used(self):
        """Bytes of memory that are behind it now."""
        with cython.critical_section(self):
            return shared_load(&self.head().used) if self.table != NULL else 0

    @cython.critical_section
    def join(self, int part):
        """Write to this part from now on, and read as its owner. What a dead owner left there stays as long as it is busy."""
        cdef size_t capacity, index
        cdef int number
        if not 0 <= part < self.parts or self.part >= 0:
            raise ValueError("an arena is joined once, at one of its parts")
        self.bases = <uint8_t**>fg_calloc(self.parts, sizeof(uint8_t*))
        self.notes = <uint8_t*>map_zeros(self.notes_size())
        if self.bases == NULL or self.notes == NULL:
            raise MemoryError()
        self.seen = <uint64_t*>self.notes
        self.counts = <uint32_t*>(self.seen + <size_t>self.parts * SLOTS)
        self.following = <int32_t*>(self.counts + <size_t>self.parts * SLOTS)
        self.part, self.fork = part, forks
        memset(self.heads, 0xFF, sizeof(self.heads))
        for index in range(min(<uint64_t>SLOTS, shared_load(&self.row(part).count))):
            number = class_of(self.slot(part * SLOTS + index).capacity, &capacity)
            self.following[index], self.heads[number] = self.heads[number], <int32_t>index

    # -- writing

    def put(self, data not None):
        """Copy a contiguous buffer to where others can read it, and return where; None when there is no room."""
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            with cython.critical_section(self):
                if self.limit == 0 or self.closed or self.part < 0 or self.fork != forks:
                    return None
                self.live += 1
                try:
                    return self.put_bytes(<const uint8_t*>view.buf, view.len)
                finally:
                    self.live -= 1
                    self.end()
        finally:
            PyBuffer_Release(&view)

    cdef put_bytes(self, const uint8_t* data, size_t size):
        cdef bint fresh = False
        cdef Py_ssize_t index = self.take(size, &fresh)
        if index < 0:
            return None
        if not self.write(index, data, size, fresh) or self.closed:  # by somebody else meanwhile
            self.punch(index)
            self.release(index)
            return None
        return index, size, shared_load(&self.slot(index).word)

    cdef bint write(self, size_t index, const uint8_t* data, size_t size, bint fresh) noexcept:
        cdef uint8_t* base = NULL if fresh else self.base(self.part)
        cdef long at = self.place_of(index)
        cdef size_t done = 0
        cdef ssize_t wrote
        cdef int fd = self.fd
        if base != NULL:
            base += self.slot(index).offset
            with nogil:
                memcpy(base, data, size)
            return True
        with nogil:
            while done < size:
                wrote = pwrite(fd, data + done, size - done, at + done)
                if wrote > 0:
                    done += wrote
                elif wrote == 0 or errno != EINTR:
                    break
        return done == size

    cdef Py_ssize_t take(self, size_t size, bint* fresh) noexcept:
        """A slot, busy and with the right to so much memory; -1 when there is none."""
        cdef size_t capacity
        cdef int number = class_of(size, &capacity)
        cdef Py_ssize_t index = -1
        if size > self.limit or number >= CLASSES:
            return -1
        index = self.find_free(number, size)
        if index < 0:
            index = self.make(number, capacity)
        while index < 0 and number + 1 < CLASSES:
            number += 1
            index = self.find_free(number, size)
        if index < 0:
            return -1
        fresh[0] = self.slot(index).resident < pages(size)
        if fresh[0] and not self.reserve(self.slot(index), pages(size)):
            self.release(index)
            return -1
        return index

    cdef Py_ssize_t find_free(self, int number, size_t size) noexcept:
        """One of the class, busy from now on: the first with memory enough behind it, else the first."""
        cdef uint64_t releases = shared_load(&self.row(self.part).releases) + 1
        cdef Py_ssize_t cold = -1
        cdef int32_t at = self.heads[number]
        cdef size_t index
        if self.tried[number] == releases:
            return -1
        while at >= 0:
            index = self.part * SLOTS + at
            if self.is_free(index):
                if self.slot(index).resident >= size and self.seize(index):
                    return index
                if cold < 0:
                    cold = index
            at = self.following[at]
        if cold >= 0 and self.seize(cold):
            return cold
        self.tried[number] = releases
        return -1

    cdef Py_ssize_t make(self, int number, size_t capacity) noexcept:
        cdef part_t* row = self.row(self.part)
        cdef size_t count = row.count
        cdef size_t index = self.part * SLOTS + count
        cdef slot_t* slot = self.slot(index)
        if count == SLOTS or self.span - row.end < capacity:
            return -1
        slot.offset, slot.capacity, slot.resident = row.end, capacity, 0
        row.end += capacity
        shared_store(&slot.word, slot.word + (2 - slot.word % 2) + BUSY)
        shared_store(&row.count, count + 1)
        self.following[count], self.heads[number] = self.heads[number], <int32_t>count
        return index

    cdef bint reserve(self, slot_t* slot, size_t size) noexcept:
        """What is too much is refused, unless giving back what is free makes room for it."""
        cdef uint64_t* used = &self.head().used
        cdef size_t more = size - slot.resident
        if shared_add(used, more) + more > self.limit:
            shared_add(used, <uint64_t>0 - more)
            self.trim(more)
            if shared_add(used, more) + more > self.limit:
                shared_add(used, <uint64_t>0 - more)
                return False
        slot.resident = size
        return True

    cdef bint is_free(self, size_t index) noexcept:
        cdef int word
        if shared_load(&self.slot(index).word) & BUSY:
            return False
        if index < SLOTS:
            for word in range(self.stride):
                if shared_load(self.readers(index) + word):
                    return False
        return True

    cdef bint seize(self, size_t index) noexcept:
        cdef uint64_t* word = &self.slot(index).word
        cdef uint64_t now = shared_load(word)
        return not now & BUSY and shared_swap(word, now, now + 2 + BUSY)

    cdef void release(self, size_t index) noexcept:
        """Ours to begin with, or read by us as the last."""
        cdef uint64_t* word = &self.slot(index).word
        if self.closed:
            self.punch(index)
        shared_store(word, shared_load(word) & ~<uint64_t>BUSY)
        shared_add(&self.row(index // SLOTS).releases, 1)

    @cython.critical_section
    def drop(self, place not None):
        """Take back what was put and did not leave."""
        if self.table != NULL:
            self.release(place[0])

    @cython.critical_section
    def has(self, place not None, data not None):
        """Whether what this process has put there, and keeps, is the same as `data`."""
        cdef Py_buffer view
        cdef size_t index = place[0]
        cdef size_t size = place[1]
        cdef uint8_t* base
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        base = self.base(index // SLOTS) if self.table != NULL else NULL
        same = base != NULL and <size_t>view.len == size and memcmp(base + self.slot(index).offset, view.buf, size) == 0
        PyBuffer_Release(&view)
        return same

    # -- giving memory back

    cdef void punch(self, size_t index) noexcept:
        """The pages of a slot that nobody reads and that is ours."""
        cdef slot_t* slot = self.slot(index)
        cdef long at = self.place_of(index)
        cdef long size = slot.resident
        cdef int fd = self.fd
        if size:
            with nogil:
                fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size)
            slot.resident = 0
            shared_add(&self.head().used, <uint64_t>0 - <uint64_t>size)

    cdef size_t give_back(self, size_t index) noexcept:
        """A free slot's memory; how much it was."""
        cdef size_t size = self.slot(index).resident
        if size == 0 or not self.is_free(index) or not self.seize(index):
            return 0
        size = self.slot(index).resident
        self.punch(index)
        self.release(index)
        return size

    cdef void trim(self, size_t wanted) noexcept:
        """Give back so much, or what there is: of our own part, and the pool of any."""
        cdef int part
        cdef size_t index
        cdef size_t found = 0
        for part in range(self.parts):
            if part == self.part or self.part == 0:
                for index in range(part * SLOTS, part * SLOTS + <size_t>shared_load(&self.row(part).count)):
                    if found >= wanted:
                        return
                    found += self.give_back(index)

    @cython.critical_section
    def tidy(self):
        """The pool, now and then: give back memory that was free all the time since the last call, if it is more than LOW."""
        cdef int part
        cdef size_t index
        cdef uint64_t word
        if self.table == NULL or self.closed or self.fork != forks:
            return
        self.live += 1
        for part in range(self.parts):
            for index in range(part * SLOTS, part * SLOTS + <size_t>shared_load(&self.row(part).count)):
                word = shared_load(&self.slot(index).word)
                if word == self.seen[index] and not word & BUSY and shared_load(&self.head().used) > LOW:
                    self.give_back(index)
                self.seen[index] = shared_load(&self.slot(index).word)
        self.live -= 1
        self.end()

    # -- reading

    def view(self, place not None, bint private=False):
        """What was put there, and stays as long as this is used. With `private` what is written to it stays in this process.

        Raises TransferError when it is not there any more.
        """
        return PyMemoryView_FromObject(Segment(self, place[0], place[1], place[2], private))

    def lease(self, place not None):
        """Of what this process has put: it stays as long as this lives."""
        return Lease(self, place[0])

    cdef void leave(self, size_t index, bint forked) noexcept:
        """A Segment is gone. What a fork of this process has as well is not used again."""
        with cython.critical_section(self):
            if not forked:
                self.counts[index] -= 1
                if self.counts[index] == 0 and index < SLOTS:
                    self.unread(index, self.part)
                elif self.counts[index] == 0:
                    self.release(index)
            self.live -= 1
            self.end()

    cdef void expire(self, size_t index, bint forked) noexcept:
        """A Lease is gone."""
        with cython.critical_section(self):
            if self.table != NULL and not forked:
                self.release(index)
            self.live -= 1
            self.end()

    cdef void unread(self, size_t index, int part) noexcept:
        cdef uint64_t bit = <uint64_t>1 << (part % 64)
        if shared_and(self.readers(index) + part // 64, ~bit) & bit:
            shared_add(&self.row(0).releases, 1)

    # -- the ends of things

    @cython.critical_section
    def bury(self, int part):
        """Its owner is dead: it reads nothing any more. Returns what it has put, and nobody here has got yet."""
        cdef size_t index
        cdef uint64_t word
        left = []
        for index in range(<size_t>shared_load(&self.row(0).count)):
            self.unread(index, part)
        for index in range(part * SLOTS, part * SLOTS + <size_t>shared_load(&self.row(part).count)):
            word = shared_load(&self.slot(index).word)
            if word & BUSY and self.counts[index] == 0:
                left.append((index, word))
        return left

    @cython.critical_section
    def reclaim(self, list left not None):
        """What `bury` returned, when nothing that is under way can speak of it any more."""
        cdef size_t index
        cdef uint64_t word
        for index, word in left:
            if self.table != NULL and self.counts[index] == 0 and shared_swap(&self.slot(index).word, word, word & ~<uint64_t>BUSY):
                shared_add(&self.row(index // SLOTS).releases, 1)

    @property
    def reading(self):
        """Whether there are Segments in this process."""
        return self.live > 0

    @cython.critical_section
    def close(self):
        """The pool, when its workers are gone. Segments stay as they are; the memory of others is given back."""
        cdef int part
        cdef size_t index
        if self.closed:
            return
        self.closed = True
        self.live += 1
        if self.live > 1 and self.part >= 0 and self.fork == forks:
            for part in range(self.parts):
                for index in range(part * SLOTS, part * SLOTS + <size_t>shared_load(&self.row(part).count)):
                    if self.counts[index] == 0:
                        self.punch(index)
        self.live -= 1
        self.end()

    cdef void end(self) noexcept:
        cdef int fd = self.fd
        if self.closed and self.live == 0 and fd >= 0:
            self.unmap()
            self.fd = -1
            os.close(fd)


cdef void* map_shared(int fd, size_t size, size_t offset) noexcept:
    cdef void* address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset)
    if address == <void*>-1:
        return NULL
    madvise(address, size, MADV_DONTDUMP)
    return address


cdef void* map_zeros(size_t size) noexcept:
    cdef void* address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    return NULL if address == <void*>-1 else address


@cython.final
cdef class Buffers:
    """For pickle to call with each buffer that a value hands out: `large` are those worth a place here, the others stay in band."""

    cdef size_t least
    cdef readonly list large

    def __cinit__(self, size_t least):
        self.least, self.large = least, []

    def __call__(self, buffer):
        cdef Py_buffer view
        cdef bint stays
        PyObject_GetBuffer(buffer, &view, PyBUF_FULL_RO)
        stays = <size_t>view.len < self.least or not PyBuffer_IsContiguous(&view, c"A")
        PyBuffer_Release(&view)
        if not stays:
            self.large.append(buffer)
        return stays


@cython.final
@cython.no_gc  # an arena knows nothing that could know this
cdef class Lease:
    """Keeps what this process has put."""

    cdef Arena arena
    cdef size_t index
    cdef unsigned long fork

    def __cinit__(self, Arena arena not None, size_t index):
        self.arena, self.index, self.fork = arena, index, forks
        with cython.critical_section(arena):
            arena.live += 1

    def __dealloc__(self):
        if self.arena is not None:
            self.arena.expire(self.index, self.fork != forks)


@cython.final
@cython.no_gc  # an arena knows nothing that could know this
cdef class Segment:
    """A writable buffer in place: what was put there, for as long as somebody has this or a view of it."""

    cdef Arena arena
    cdef size_t index
    cdef size_t size
    cdef uint8_t* data
    cdef bint mapped            # by itself, not with all of its part
    cdef bint forked            # a fork of this process has it, too
    cdef unsigned long fork
    cdef object __weakref__

    def __cinit__(self, Arena arena not None, size_t index, size_t size, uint64_t word, bint private):
        with cython.critical_section(arena):
            if arena.table == NULL or arena.part < 0 or index >= <size_t>arena.parts * SLOTS:
                raise TransferError("there is no shared memory to read from")
            if shared_load(&arena.slot(index).word) != word or size > arena.slot(index).resident:
                raise TransferError("a large buffer is not in shared memory any more")
            self.map(arena, index, size, private)
            self.arena, self.index, self.size, self.fork = arena, index, size, forks
            if arena.counts[index] == 0 and index < SLOTS:
                shared_or(arena.readers(index) + arena.part // 64, <uint64_t>1 << (arena.part % 64))
            arena.counts[index] += 1
            arena.live += 1
        if not private:
            _segments.add(self)

    cdef int map(self, Arena arena, size_t index, size_t size, bint private) except -1:
        cdef uint8_t* base = NULL if private else arena.base(index // SLOTS)
        cdef int flags = MAP_PRIVATE if private else MAP_SHARED
        cdef void* address
        if base != NULL:
            self.data = base + arena.slot(index).offset
            return 0
        address = mmap(NULL, pages(size), PROT_READ | PROT_WRITE, flags, arena.fd, arena.place_of(index))
        if address == <void*>-1:
            raise MemoryError("there is no address space for a large buffer")
        self.data, self.mapped = <uint8_t*>address, True
        return 0

    def __dealloc__(self):
        if self.arena is None:
            return
        if self.mapped:
            munmap(self.data, pages(self.size))
        self.arena.leave(self.index, self.forked or self.fork != forks)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.size, False, flags)

    def __len__(self):
        return self.size

    cdef void keep_apart(self) noexcept:
        """In a fork: what is written to it here must not be seen there."""
        mmap(self.data, pages(self.size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, self.arena.fd,
             self.arena.place_of(self.index))


_segments = weakref.WeakSet()   # those that a fork has to be told of


def _before_fork():
    cdef Segment segment
    for segment in list(_segments):
        segment.forked = True


def _after_fork_in_child():
    global forks
    cdef Segment segment
    for segment in list(_segments):
        segment.keep_apart()
    forks += 1


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
