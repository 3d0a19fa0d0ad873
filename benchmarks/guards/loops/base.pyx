# SPDX-License-Identifier: MIT
"""The structures of fastgear/base."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint64_t
from posix.uio cimport iovec

from fastgear.base.alloc cimport fg_calloc, fg_free
from fastgear.base.blob cimport blob_copy, blob_release, blob_t
from fastgear.base.buffer cimport (
    buffer_append, buffer_append_blob, buffer_consume, buffer_free, buffer_gather, buffer_init, buffer_length, buffer_t,
)
from fastgear.base.hash cimport hash_bytes, hash_u64
from fastgear.base.heap cimport heap_entry_t, heap_free, heap_init, heap_pop, heap_push, heap_remove, heap_t
from fastgear.base.index cimport (
    index_cursor_t, index_first, index_free, index_init, index_insert, index_next, index_remove, index_t,
)
from fastgear.base.status cimport FG_OK
from fastgear.base.table cimport (
    table_first, table_free, table_init, table_insert, table_length, table_next, table_node_t, table_remove, table_t,
)
from loops.loop cimport Loop, next_random

cdef enum:
    SEED = 88172645463325252
    AHEAD = 1 << 30             # how far a deadline is away at most
    PIECES = 16
    NAMES = 64

ctypedef struct entry_t:        # as large as a small job
    table_node_t node
    uint64_t key
    uint8_t rest[104]

ctypedef struct timer_t:
    heap_entry_t entry
    uint8_t rest[112]


cdef class Hash(Loop):
    """Names of 8 to 39 bytes."""

    cdef uint8_t name[NAMES]

    def __cinit__(self):
        for i in range(NAMES):
            self.name[i] = 48 + i

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t i, found = 0
        for i in range(count):
            self.name[0] = found & 0xff
            found += hash_bytes(self.name, 8 + (i & 31), 1, 2)
        return found


cdef class Buffer(Loop):
    """Sixteen answers and a part of a blob; what there is, gathered; and gone in two portions."""

    cdef buffer_t buffer
    cdef blob_t* blob
    cdef uint8_t packet[NAMES]

    def __cinit__(self):
        cdef bytes content = bytes(4096)
        buffer_init(&self.buffer, NULL)
        self.blob = blob_copy(<const char*>content, len(content))
        if self.blob == NULL:
            raise MemoryError()

    def __dealloc__(self):
        buffer_free(&self.buffer)
        blob_release(self.blob)

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t i, found = 0
        for i in range(count):
            found += self.one(24 + (i & 31))
        return found

    cdef uint64_t one(self, size_t length) noexcept nogil:
        cdef iovec pieces[PIECES]
        cdef int i, count
        cdef uint64_t found = 0
        for _ in range(16):
            buffer_append(&self.buffer, self.packet, length)
        buffer_append_blob(&self.buffer, self.blob, 100, 2000)
        count = buffer_gather(&self.buffer, pieces, PIECES)
        for i in range(count):
            found += pieces[i].iov_len
        buffer_consume(&self.buffer, found // 3)
        buffer_consume(&self.buffer, buffer_length(&self.buffer))
        return found


cdef class Table(Loop):
    """So many entries; each time one leaves and comes back under another number, and one is looked for in vain."""

    cdef table_t table
    cdef entry_t* entries
    cdef uint64_t size
    cdef uint64_t number
    cdef uint64_t random

    def __cinit__(self, uint64_t size):
        self.size = size
        self.random = SEED
        table_init(&self.table)
        self.entries = <entry_t*>fg_calloc(size, sizeof(entry_t))
        if self.entries == NULL:
            raise MemoryError()
        for i in range(size):
            if self.put(&self.entries[i]) != FG_OK:
                raise MemoryError()

    def __dealloc__(self):
        table_free(&self.table)
        fg_free(self.entries)

    cdef int put(self, entry_t* entry) noexcept nogil:
        self.number += 1
        entry.key = self.number
        entry.node.hash = hash_u64(self.number)
        return table_insert(&self.table, &entry.node)

    cdef entry_t* find(self, uint64_t key) noexcept nogil:
        cdef table_node_t* node = table_first(&self.table, hash_u64(key))
        while node != NULL and (<entry_t*>node).key != key:
            node = table_next(node)
        return <entry_t*>node

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t found = 0
        cdef entry_t* entry
        for _ in range(count):
            entry = self.find(self.entries[next_random(&self.random) % self.size].key)
            table_remove(&self.table, &entry.node)
            found += self.find(entry.key) == NULL
            self.put(entry)
        return found


cdef class Index(Loop):
    """The same with an index."""

    cdef index_t index
    cdef uint64_t* keys
    cdef uint64_t size
    cdef uint64_t number
    cdef uint64_t random

    def __cinit__(self, uint64_t size):
        self.size = size
        self.random = SEED
        index_init(&self.index)
        self.keys = <uint64_t*>fg_calloc(size, sizeof(uint64_t))
        if self.keys == NULL:
            raise MemoryError()
        for i in range(size):
            if self.put(&self.keys[i]) != FG_OK:
                raise MemoryError()

    def __dealloc__(self):
        index_free(&self.index)
        fg_free(self.keys)

    cdef int put(self, uint64_t* key) noexcept nogil:
        self.number += 1
        key[0] = self.number
        return index_insert(&self.index, hash_u64(self.number), key)

    cdef uint64_t* find(self, uint64_t key) noexcept nogil:
        cdef index_cursor_t cursor
        cdef uint64_t* found = <uint64_t*>index_first(&self.index, hash_u64(key), &cursor)
        while found != NULL and found[0] != key:
            found = <uint64_t*>index_next(&cursor)
        return found

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t found = 0
        cdef uint64_t* key
        for _ in range(count):
            key = self.find(self.keys[next_random(&self.random) % self.size])
            index_remove(&self.index, hash_u64(key[0]), key)
            found += self.find(key[0]) == NULL
            self.put(key)
        return found


cdef class Growth(Loop):
    """From nothing to so many entries, and back; counted by entries."""

    cdef table_t table
    cdef entry_t* entries
    cdef uint64_t size

    def __cinit__(self, uint64_t size):
        self.size = size
        table_init(&self.table)
        self.entries = <entry_t*>fg_calloc(size, sizeof(entry_t))
        if self.entries == NULL:
            raise MemoryError()

    def __dealloc__(self):
        table_free(&self.table)
        fg_free(self.entries)

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t i, done = 0, found = 0
        while done < count:
            for i in range(self.size):
                self.entries[i].node.hash = hash_u64(i)
                table_insert(&self.table, &self.entries[i].node)
            found += table_length(&self.table)
            for i in range(self.size):
                table_remove(&self.table, &self.entries[i].node)
            done += self.size
        return found


cdef class Heap(Loop):
    """So many deadlines; each time the first one is over and comes back later, as does any other one every fourth time."""

    cdef heap_t heap
    cdef timer_t* timers
    cdef uint64_t size
    cdef uint64_t random

    def __cinit__(self, uint64_t size):
        self.size = size
        self.random = SEED
        heap_init(&self.heap)
        self.timers = <timer_t*>fg_calloc(size, sizeof(timer_t))
        if self.timers == NULL:
            raise MemoryError()
        for i in range(size):
            if self.push(&self.timers[i].entry, 0) != FG_OK:
                raise MemoryError()

    def __dealloc__(self):
        heap_free(&self.heap)
        fg_free(self.timers)

    cdef int push(self, heap_entry_t* entry, int64_t now) noexcept nogil:
        return heap_push(&self.heap, entry, now + <int64_t>(next_random(&self.random) % AHEAD))

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t i, found = 0
        cdef int64_t now
        cdef heap_entry_t* entry
        for i in range(count):
            entry = heap_pop(&self.heap)
            now = entry.key
            found += entry.tie
            self.push(entry, now)
            if i & 3 == 0:
                entry = &self.timers[next_random(&self.random) % self.size].entry
                heap_remove(&self.heap, entry)
                self.push(entry, now)
        return found
