# SPDX-License-Identifier: MIT
"""The structures of fastgear/base as Python objects, so that tests can compare them with plain Python ones."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset
from posix.uio cimport iovec

from fastgear.base.alloc cimport fg_calloc, fg_free, fg_malloc
from fastgear.base.bitset cimport (
    bitset_add, bitset_discard, bitset_free, bitset_has, bitset_init, bitset_last_common, bitset_next_common, bitset_t,
)
from fastgear.base.blob cimport (
    SHELF_BYTES, SHELF_LEAST, blob_hold, blob_new, blob_release, blob_resize, blob_t, shelf_clear, shelf_put, shelf_t,
    shelf_take,
)
from fastgear.base.buffer cimport (
    buffer_append, buffer_append_blob, buffer_commit, buffer_consume, buffer_free, buffer_gather, buffer_init,
    buffer_length, buffer_reserve, buffer_t, piece_t, pieces_free, pieces_t,
)
from fastgear.base.digits cimport MAX_DIGITS, digits_read, digits_read_eight, digits_write, digits_write_eight
from fastgear.base.hash cimport hash_bytes, hash_u64
from fastgear.base.heap cimport (
    heap_contains, heap_entry_t, heap_free, heap_init, heap_length, heap_pop, heap_push, heap_remove, heap_t, heap_top,
)
from fastgear.base.index cimport (
    index_cursor_t, index_first, index_free, index_init, index_insert, index_length, index_next, index_remove, index_t,
)
from fastgear.base.list cimport (
    link_init, link_is_linked, link_remove, link_t, list_first, list_init, list_is_empty, list_pop_front, list_push_back,
    list_push_front,
)
from fastgear.base.slab cimport slabs_free, slabs_give, slabs_init, slabs_t, slabs_take
from fastgear.base.status cimport FG_OK
from fastgear.base.table cimport (
    table_begin, table_cursor_t, table_each, table_first, table_free, table_init, table_insert, table_length, table_next,
    table_node_t, table_remove, table_t,
)

# Each item has its links first, so that a link's address is the item's.
ctypedef struct item_t:
    link_t link
    int id

ctypedef struct timer_t:
    heap_entry_t entry
    int id

ctypedef struct entry_t:
    table_node_t node
    long key


cdef class List:
    """A list of the numbers below `size`."""

    cdef link_t head
    cdef item_t* items

    def __cinit__(self, int size):
        cdef int i
        list_init(&self.head)
        self.items = <item_t*>fg_calloc(size, sizeof(item_t))
        for i in range(size):
            link_init(&self.items[i].link)
            self.items[i].id = i

    def __dealloc__(self):
        fg_free(self.items)

    def push_back(self, int id):
        list_push_back(&self.head, &self.items[id].link)

    def push_front(self, int id):
        list_push_front(&self.head, &self.items[id].link)

    def remove(self, int id):
        link_remove(&self.items[id].link)

    def pop_front(self):
        cdef link_t* link = list_pop_front(&self.head)
        return None if link == NULL else (<item_t*>link).id

    def first(self):
        cdef link_t* link = list_first(&self.head)
        return None if link == NULL else (<item_t*>link).id

    def __contains__(self, int id):
        return link_is_linked(&self.items[id].link)

    def __bool__(self):
        return not list_is_empty(&self.head)

    def forwards(self):
        ids, link = [], self.head.next
        while link != &self.head:
            ids.append((<item_t*>link).id)
            link = link.next
        return ids

    def backwards(self):
        ids, link = [], self.head.prev
        while link != &self.head:
            ids.append((<item_t*>link).id)
            link = link.prev
        return ids


cdef class Slabs:
    """Pieces of any size, each full of a byte of its own as long as it is taken."""

    cdef slabs_t slabs
    cdef dict taken

    def __cinit__(self):
        slabs_init(&self.slabs)
        self.taken = {}

    def __dealloc__(self):
        for piece, (size, _) in self.taken.items():
            slabs_give(&self.slabs, <void*><size_t>piece, size)
        slabs_free(&self.slabs)

    def take(self, size_t size, int byte):
        """Its address, or None."""
        cdef void* piece = slabs_take(&self.slabs, size)
        if piece == NULL:
            return None
        memset(piece, byte, size)
        self.taken[<size_t>piece] = size, byte
        return <size_t>piece

    def give(self, piece):
        """Whether it was as it had been left."""
        cdef size_t size
        size, byte = self.taken.pop(piece)
        content = (<char*><size_t>piece)[:size]
        slabs_give(&self.slabs, <void*><size_t>piece, size)
        return content == bytes([byte]) * size

    @property
    def spares(self):
        return self.slabs.spares


cdef class Heap:
    """Deadlines for the numbers below `size`."""

    cdef heap_t heap
    cdef timer_t* timers

    def __cinit__(self, int size, unsigned int first_tie=0):
        cdef int i
        heap_init(&self.heap)
        self.heap.next_tie = first_tie
        self.timers = <timer_t*>fg_calloc(size, sizeof(timer_t))
        for i in range(size):
            self.timers[i].id = i

    def __dealloc__(self):
        heap_free(&self.heap)
        fg_free(self.timers)

    def push(self, int id, long long key):
        return heap_push(&self.heap, &self.timers[id].entry, key) == FG_OK

    def pop(self):
        cdef heap_entry_t* entry = heap_pop(&self.heap)
        return None if entry == NULL else (<timer_t*>entry).id

    def top(self):
        cdef heap_entry_t* entry = heap_top(&self.heap)
        return None if entry == NULL else (<timer_t*>entry).id

    def remove(self, int id):
        heap_remove(&self.heap, &self.timers[id].entry)

    def __contains__(self, int id):
        return heap_contains(&self.timers[id].entry)

    def __len__(self):
        return heap_length(&self.heap)

    @property
    def capacity(self):
        return self.heap.capacity


cdef class Table:
    """A set of pairs of a hash and a key."""

    cdef table_t table

    def __cinit__(self):
        table_init(&self.table)

    def __dealloc__(self):
        cdef table_cursor_t cursor = table_begin()
        cdef table_node_t* node = table_each(&self.table, &cursor)
        cdef table_node_t* last
        while node != NULL:
            last = node
            node = table_each(&self.table, &cursor)
            fg_free(last)
        table_free(&self.table)

    cdef table_node_t* find(self, unsigned long hash, long key):
        cdef table_node_t* node = table_first(&self.table, hash)
        while node != NULL and (<entry_t*>node).key != key:
            node = table_next(node)
        return node

    def insert(self, unsigned long hash, long key):
        cdef entry_t* entry = <entry_t*>fg_malloc(sizeof(entry_t))
        if entry == NULL:
            return False
        entry.node.hash = hash
        entry.key = key
        if table_insert(&self.table, &entry.node) != FG_OK:
            fg_free(entry)
            return False
        return True

    def remove(self, unsigned long hash, long key):
        cdef table_node_t* node = self.find(hash, key)
        if node == NULL:
            return False
        table_remove(&self.table, node)
        fg_free(node)
        return True

    def __contains__(self, pair):
        return self.find(pair[0], pair[1]) != NULL

    def __len__(self):
        return table_length(&self.table)

    def each(self):
        cdef table_cursor_t cursor = table_begin()
        cdef table_node_t* node = table_each(&self.table, &cursor)
        pairs = []
        while node != NULL:
            pairs.append((node.hash, (<entry_t*>node).key))
            node = table_each(&self.table, &cursor)
        return pairs

    @property
    def buckets(self):
        return self.table.mask + 1 if self.table.buckets != NULL else 0

    @property
    def moved(self):
        """Old buckets that are empty, while the table is changing its size; None when it is not."""
        return self.table.moved if self.table.old != NULL else None


cdef class Index:
    """A set of pairs of a hash and a key."""

    cdef index_t index

    def __cinit__(self):
        index_init(&self.index)

    def __dealloc__(self):
        index_free(&self.index)

    def insert(self, unsigned long hash, size_t key):
        return index_insert(&self.index, hash, <void*>(key + 1)) == FG_OK

    def remove(self, unsigned long hash, size_t key):
        index_remove(&self.index, hash, <void*>(key + 1))

    def find(self, unsigned long hash):
        cdef index_cursor_t cursor
        cdef void* item = index_first(&self.index, hash, &cursor)
        found = []
        while item != NULL:
            found.append(<size_t>item - 1)
            item = index_next(&cursor)
        return found

    def __len__(self):
        return index_length(&self.index)

    @property
    def places(self):
        return self.index.mask + 1 if self.index.entries != NULL else 0

    @property
    def moved(self):
        """Old places that are empty, while the index is changing its size; None when it is not."""
        return self.index.moved if self.index.old != NULL else None


cdef class Bitset:
    cdef bitset_t set

    def __cinit__(self):
        bitset_init(&self.set)

    def __dealloc__(self):
        bitset_free(&self.set)

    def add(self, size_t member):
        return bitset_add(&self.set, member) == FG_OK

    def discard(self, size_t member):
        bitset_discard(&self.set, member)

    def __contains__(self, size_t member):
        return bitset_has(&self.set, member)

    def last_common(self, Bitset other not None, size_t limit):
        return bitset_last_common(&self.set, &other.set, limit)

    def next_common(self, Bitset other not None, size_t limit):
        return bitset_next_common(&self.set, &other.set, limit)


def write_digits(uint64_t number):
    cdef uint8_t room[MAX_DIGITS]
    return (<char*>room)[:digits_write(room, number)]


def read_digits(bytes text not None):
    """The number, or None."""
    cdef uint64_t number
    return number if digits_read(<const uint8_t*><const char*>text, len(text), &number) else None


def write_eight(uint64_t number):
    cdef uint8_t room[8]
    digits_write_eight(room, number)
    return (<char*>room)[:8]


def read_eight(bytes text not None):
    cdef uint64_t number
    return number if digits_read_eight(<const uint8_t*><const char*>text, &number) else None


cdef class Blob:
    cdef blob_t* blob

    def __cinit__(self, bytes content not None):
        self.blob = blob_new(len(content))
        if self.blob == NULL:
            raise MemoryError()
        memcpy(self.blob.bytes, <const char*>content, len(content))
        self.blob.length = len(content)

    def __dealloc__(self):
        if self.blob != NULL:
            blob_release(self.blob)

    def resize(self, size_t capacity):
        cdef blob_t* blob = blob_resize(self.blob, capacity)
        if blob == NULL:
            return False
        self.blob = blob
        return True

    def hold(self):
        blob_hold(self.blob)

    def release(self):
        blob_release(self.blob)

    def __bytes__(self):
        return (<char*>self.blob.bytes)[:self.blob.length]

    @property
    def references(self):
        return self.blob.references

    @property
    def capacity(self):
        return self.blob.capacity


cdef class Pieces:
    """That buffers have left, for others."""

    cdef pieces_t pieces

    def __dealloc__(self):
        pieces_free(&self.pieces)

    def __len__(self):
        return self.pieces.count


cdef class Buffer:
    cdef buffer_t buffer
    cdef Pieces spares

    def __cinit__(self, Pieces spares=None):
        self.spares = spares
        buffer_init(&self.buffer, &spares.pieces if spares is not None else NULL)

    def __dealloc__(self):
        buffer_free(&self.buffer)

    def append(self, bytes content not None):
        return buffer_append(&self.buffer, <const char*>content, len(content)) == FG_OK

    def append_blob(self, Blob blob not None, size_t start, size_t length):
        return buffer_append_blob(&self.buffer, blob.blob, start, length) == FG_OK

    def reserve(self, size_t length, bytes content not None):
        """Ask for room, and use as much of it as content needs."""
        cdef uint8_t* room = buffer_reserve(&self.buffer, length)
        if room == NULL:
            return False
        memcpy(room, <const char*>content, len(content))
        buffer_commit(&self.buffer, len(content))
        return True

    def gather(self, int most=64):
        cdef iovec pieces[64]
        cdef int i, count = buffer_gather(&self.buffer, pieces, most)
        return [(<const char*>pieces[i].iov_base)[:pieces[i].iov_len] for i in range(count)]

    def consume(self, size_t length):
        buffer_consume(&self.buffer, length)

    def clear(self):
        buffer_free(&self.buffer)

    def __len__(self):
        return buffer_length(&self.buffer)

    @property
    def capacities(self):
        cdef piece_t* piece = self.buffer.first
        sizes = []
        while piece != NULL:
            sizes.append(piece.capacity)
            piece = piece.next
        return sizes


def sip(bytes content not None, uint64_t k0, uint64_t k1):
    return hash_bytes(<const char*>content, len(content), k0, k1)


def mix(uint64_t number):
    return hash_u64(number)


cdef class Shelf:
    """Blobs are known by their addresses. `hold` is a second owner's reference."""

    cdef shelf_t shelf

    LEAST, MOST = SHELF_LEAST, SHELF_BYTES

    def __dealloc__(self):
        shelf_clear(&self.shelf)

    def new(self, size_t capacity):
        return <size_t>blob_new(capacity)

    def hold(self, size_t blob):
        blob_hold(<blob_t*>blob)

    def release(self, size_t blob):
        blob_release(<blob_t*>blob)

    def put(self, size_t blob):
        shelf_put(&self.shelf, <blob_t*>blob)

    def take(self, size_t length):
        cdef blob_t* blob = shelf_take(&self.shelf, length)
        if blob == NULL:
            return None
        assert blob.references == 1 and blob.length == 0 and blob.capacity >= length
        return <size_t>blob

    def clear(self):
        shelf_clear(&self.shelf)

    @property
    def bytes(self):
        return self.shelf.bytes
