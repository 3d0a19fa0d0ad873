# SPDX-License-Identifier: MIT
"""What the machine can do at the moment: work of the kinds that the other loops do, without a line of fastgear's.

A busy neighbour on the same core slows each kind of work down by a factor of its own, so there is more than one of these. Each is
as plain as can be, and never made faster: the baseline is in multiples of it.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcpy

from loops.loop cimport Loop, next_random

cdef enum:
    SEED = 88172645463325252
    TEXT = 16384
    FIELDS = 4
    WAITING = 4096
    BUCKETS = 1024
    NAME = 24

ctypedef struct cut_t:
    int kind
    int count
    const uint8_t* at[FIELDS]
    size_t length[FIELDS]

ctypedef struct node_t:
    node_t* next
    uint64_t key
    size_t place
    uint8_t rest[104]

ctypedef struct record_t:
    record_t* next              # in its bucket
    record_t* after             # in the queue
    uint64_t key
    size_t length
    uint8_t bytes[1]


cdef class Text(Loop):
    """Fields cut at zeros, lengths read byte by byte, pieces copied: what is near, and in straight lines."""

    cdef uint8_t text[TEXT]
    cdef uint8_t to[TEXT]

    def __cinit__(self):
        cdef uint64_t random = SEED
        cdef int i
        for i in range(TEXT):
            self.text[i] = 1 + next_random(&random) % 255
        for i in range(15, TEXT, 16):
            self.text[i] = 0

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t i, found = 0
        cdef size_t at = 0
        cdef cut_t cut
        for i in range(count):
            self.cut(self.text + at, 8 + (i * 7 & 63), &cut)
            found += cut.count + cut.length[0] + self.copy(&cut)
            at = (at + 64 + (cut.kind & 15)) % (TEXT - 256)
        return found

    cdef void cut(self, const uint8_t* at, size_t length, cut_t* cut) noexcept nogil:
        cdef const uint8_t* end = at + length
        cdef const uint8_t* zero
        cut.kind = at[0] << 8 | at[1]
        cut.count = 0
        while cut.count < FIELDS - 1:
            zero = <const uint8_t*>memchr(at, 0, end - at)
            if zero == NULL:
                break
            cut.at[cut.count] = at
            cut.length[cut.count] = zero - at
            cut.count += 1
            at = zero + 1
        cut.at[cut.count] = at
        cut.length[cut.count] = end - at
        cut.count += 1

    cdef size_t copy(self, const cut_t* cut) noexcept nogil:
        cdef uint8_t* to = self.to + (cut.kind & 0xfff)
        cdef int i
        for i in range(cut.count):
            to[0] = cut.length[i] >> 8
            to[1] = cut.length[i]
            memcpy(to + 2, cut.at[i], cut.length[i])
            to += 2 + cut.length[i]
        return to - self.to


cdef class Numbers(Loop):
    """Multiplications, rotations and sums, each waiting for the one before."""

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t i, a = SEED, b = 1
        for i in range(count):
            a += b
            b = (b << 13 | b >> 51) ^ a
            a = (a << 32 | a >> 32) + i
            b *= <uint64_t>0x9e3779b97f4a7c15U
        return a ^ b


cdef class Chains(Loop):
    """A hash table of so many nodes: one is found, leaves, and comes back elsewhere."""

    cdef node_t* nodes
    cdef node_t** buckets
    cdef uint64_t size
    cdef uint64_t mask
    cdef uint64_t random
    cdef uint64_t number

    def __cinit__(self, uint64_t size):
        cdef uint64_t i
        self.size = size
        self.mask = 1
        self.random = SEED
        while self.mask < size:
            self.mask *= 2
        self.buckets = <node_t**>calloc(self.mask, sizeof(node_t*))
        self.nodes = <node_t*>calloc(size, sizeof(node_t))
        if self.buckets == NULL or self.nodes == NULL:
            raise MemoryError()
        self.mask -= 1
        for i in range(size):
            self.put(&self.nodes[i])

    def __dealloc__(self):
        free(self.buckets)
        free(self.nodes)

    cdef node_t** bucket(self, uint64_t key) noexcept nogil:
        key = (key ^ key >> 30) * <uint64_t>0xbf58476d1ce4e5b9U
        return &self.buckets[(key ^ key >> 31) & self.mask]

    cdef void put(self, node_t* node) noexcept nogil:
        cdef node_t** bucket
        self.number += 1
        node.key = self.number
        bucket = self.bucket(node.key)
        node.next = bucket[0]
        bucket[0] = node

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t key, found = 0
        cdef node_t** at
        cdef node_t* node
        for _ in range(count):
            key = self.nodes[next_random(&self.random) % self.size].key
            at = self.bucket(key)
            while at[0].key != key:
                at = &at[0].next
            node = at[0]
            at[0] = node.next
            self.put(node)
            found += key
        return found


cdef class Sift(Loop):
    """A heap of so many nodes: the first one gets a later key, and sinks."""

    cdef node_t* nodes
    cdef node_t** heap
    cdef uint64_t size
    cdef uint64_t random

    def __cinit__(self, uint64_t size):
        cdef uint64_t i
        self.size = size
        self.random = SEED
        self.heap = <node_t**>calloc(size, sizeof(node_t*))
        self.nodes = <node_t*>calloc(size, sizeof(node_t))
        if self.heap == NULL or self.nodes == NULL:
            raise MemoryError()
        for i in range(size):
            self.nodes[i].key = i
            self.heap[i] = &self.nodes[i]

    def __dealloc__(self):
        free(self.heap)
        free(self.nodes)

    cdef void sink(self, node_t* node) noexcept nogil:
        cdef size_t at = 0, child = 1
        while child < self.size:
            if child + 1 < self.size and self.heap[child + 1].key < self.heap[child].key:
                child += 1
            if self.heap[child].key >= node.key:
                break
            self.heap[at] = self.heap[child]
            self.heap[at].place = at
            at = child
            child = 2 * at + 1
        self.heap[at] = node
        node.place = at

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t found = 0
        cdef node_t* node
        for _ in range(count):
            node = self.heap[0]
            found += node.key
            node.key += next_random(&self.random) % (2 * self.size)
            self.sink(node)
        return found


cdef class Records(Loop):
    """Records that come into memory, are found by a number, wait in line, are copied out, and go."""

    cdef record_t* buckets[BUCKETS]
    cdef record_t* first
    cdef record_t* last
    cdef uint64_t number
    cdef uint8_t to[256]

    def __cinit__(self):
        for _ in range(WAITING):
            self.come()

    def __dealloc__(self):
        while self.first != NULL:
            self.go()

    cdef record_t** bucket(self, uint64_t key) noexcept nogil:
        return &self.buckets[key * <uint64_t>0x9e3779b97f4a7c15U >> 54]

    cdef void come(self) noexcept nogil:
        cdef size_t length = NAME + (self.number & 31)
        cdef record_t* record = <record_t*>malloc(sizeof(record_t) + length)
        cdef record_t** bucket
        if record == NULL:
            return
        self.number += 1
        record.key = self.number
        record.length = length
        record.after = NULL
        memcpy(record.bytes, self.to, length)
        bucket = self.bucket(record.key)
        record.next = bucket[0]
        bucket[0] = record
        if self.first == NULL:
            self.first = record
        else:
            self.last.after = record
        self.last = record

    cdef uint64_t go(self) noexcept nogil:
        cdef record_t* record = self.first
        cdef record_t** at = self.bucket(record.key)
        cdef uint64_t key = record.key
        while at[0] != record:
            at = &at[0].next
        at[0] = record.next
        self.first = record.after
        memcpy(self.to, record.bytes, record.length)
        free(record)
        return key

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t found = 0
        for _ in range(count):
            self.come()
            found += self.go()
        return found
