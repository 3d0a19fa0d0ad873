# SPDX-License-Identifier: MIT
"""Arguments written and read. See arguments.pxd for what they are."""

from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from fastgear.base.alloc cimport fg_free, fg_realloc
from fastgear.pool.values cimport NO_ROOM, NOT_PLAIN, put_plain, read_plain

cdef enum:
    MOST = 64                   # arguments
    MOST_BYTES = 1028           # of a record, 1023 of text or bytes in it; more is pickled, and may go through shared memory


cdef bint are_plain(tuple args) noexcept:
    """Whether each makes a record that is small enough; the writer makes them, and only if there will be a frame, again."""
    cdef uint8_t record[MOST_BYTES]
    if len(args) > MOST:
        return False
    for value in args:
        if put_plain(record, MOST_BYTES, value) < 0:
            return False
    return True


cdef class ArgumentsWriter:
    """Of many calls, one after the other."""

    def __dealloc__(self):
        fg_free(self.data)

    cdef int add(self, tuple args) except -1:
        """What `are_plain` is true of."""
        cdef size_t start = self.used
        cdef Py_ssize_t written
        cdef Py_ssize_t index = 0
        self.add_byte(<uint8_t>len(args))
        while index < len(args):
            written = put_plain(self.data + self.used, self.room - self.used, args[index])
            if written == NO_ROOM:
                self.grow()
            elif written == NOT_PLAIN:
                self.used = start
                raise ValueError("arguments that are not plain have to be pickled")
            else:
                self.used += written
                index += 1
        return 0

    cdef int add_other(self) except -1:
        return self.add_byte(OTHERS)

    cdef int add_byte(self, uint8_t byte) except -1:
        if self.used == self.room:
            self.grow()
        self.data[self.used] = byte
        self.used += 1
        return 0

    cdef int grow(self) except -1:
        cdef size_t room = self.room * 2 if self.room else 512
        cdef uint8_t* data = <uint8_t*>fg_realloc(self.data, room)
        if data == NULL:
            raise MemoryError
        self.data = data
        self.room = room
        return 0

    cdef bytes take(self):
        """All that was added since the last time."""
        cdef bytes taken = PyBytes_FromStringAndSize(<const char*>self.data, self.used)
        fg_free(self.data)  # one long frame is no reason to keep much
        self.data = NULL
        self.used = self.room = 0
        return taken


cdef class ArgumentsReader:
    """Of what a writer has made."""

    def __init__(self, bytes data not None):
        self.data = data

    cdef tuple next(self):
        cdef const uint8_t* start = <const uint8_t*><const char*>self.data
        cdef const uint8_t* last = start + PyBytes_GET_SIZE(self.data)
        cdef const uint8_t* at = start + self.at
        cdef list values = []
        cdef Py_ssize_t count
        if at >= last:
            raise ValueError("the arguments of a call are missing")
        count = at[0]
        at += 1
        if count == OTHERS:
            self.at += 1
            return None
        for _ in range(count):
            at = read_plain(at, last, values)
        self.at = at - start
        return tuple(values)
