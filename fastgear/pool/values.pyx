# SPDX-License-Identifier: MIT
"""Records written and read. See values.pxd for what they are."""

import pickle

from cpython.bool cimport PyBool_FromLong
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact, PyFloat_FromDouble
from cpython.long cimport PyLong_CheckExact, PyLong_FromLongLong
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size)
    void PyErr_Clear()

cdef object loads = pickle.loads


cdef inline Py_ssize_t put_word(uint8_t* to, size_t room, char letter, const void* word) noexcept:
    if room < 9:
        return NO_ROOM
    to[0] = letter
    memcpy(to + 1, word, 8)
    return 9


cdef inline Py_ssize_t put_bytes(uint8_t* to, size_t room, char letter, const char* bytes, size_t length) noexcept:
    if room < length + 5:
        return NO_ROOM
    put_counted(to, letter, <const uint8_t*>bytes, length)
    return <Py_ssize_t>length + 5


cdef void put_counted(uint8_t* to, char letter, const uint8_t* bytes, size_t length) noexcept nogil:
    cdef uint32_t size = <uint32_t>length
    to[0] = letter
    memcpy(to + 1, &size, 4)
    memcpy(to + 5, bytes, length)


cdef Py_ssize_t put_plain(uint8_t* to, size_t room, object value) noexcept:
    cdef int overflow = 0
    cdef int64_t number
    cdef double real
    cdef Py_ssize_t length
    cdef const char* text
    if PyLong_CheckExact(value):
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        return NOT_PLAIN if overflow else put_word(to, room, c"I", &number)
    if PyFloat_CheckExact(value):
        real = PyFloat_AS_DOUBLE(value)
        return put_word(to, room, c"D", &real)
    if value is None or value is True or value is False:
        if room < 1:
            return NO_ROOM
        to[0] = c"N" if value is None else c"T" if value is True else c"F"
        return 1
    if PyUnicode_CheckExact(value):
        text = PyUnicode_AsUTF8AndSize(value, &length)
        if text == NULL:  # lone surrogates
            PyErr_Clear()
            return NOT_PLAIN
        return put_bytes(to, room, c"S", text, length) if length < 0x7FFFFFFF else NOT_PLAIN
    if PyBytes_CheckExact(value):
        length = PyBytes_GET_SIZE(value)
        return put_bytes(to, room, c"B", PyBytes_AS_STRING(value), length) if length < 0x7FFFFFFF else NOT_PLAIN
    return NOT_PLAIN


cdef class Failure:
    """In the place of a value: the task raised. `pickled` is what `Outcome` made of it."""

    cdef readonly bytes pickled

    def __init__(self, bytes pickled not None):
        self.pickled = pickled


def read_records(const uint8_t[::1] data not None, Py_ssize_t start, Py_ssize_t end, list out not None, buffers):
    """Append the values of the records between `start` and `end` to `out`, and return how many of them are failures.

    What a task raised becomes a Failure; what cannot be unpickled here becomes one as well. `buffers` is called with the
    places of a record's large buffers, and returns them.
    """
    cdef const uint8_t* at
    cdef const uint8_t* last
    cdef Py_ssize_t failures = 0
    cdef int64_t number
    if start >= end:
        return 0
    at = &data[start]
    last = at + (end - start)
    while at < last:
        if at[0] == c"I" and last - at >= 9:  # most often there are many: a seventh of the time
            memcpy(&number, at + 1, 8)
            out.append(PyLong_FromLongLong(number))
            at += 9
        else:
            at = read_one(at, last, out, buffers, &failures)
    return failures


def pack_values(list values not None):
    """Records of them all, or None where one of them is no number and no short text, but better pickled."""
    cdef size_t room = <size_t>len(values) * 9
    cdef size_t used = 0
    cdef Py_ssize_t written
    cdef bytes data = PyBytes_FromStringAndSize(NULL, room)
    cdef uint8_t* to = <uint8_t*>PyBytes_AS_STRING(data)
    for value in values:
        written = put_plain(to + used, room - used, value)
        if written < 0:
            return None
        used += written
    return data if used == room else PyBytes_FromStringAndSize(PyBytes_AS_STRING(data), used)


cdef const uint8_t* read_one(
    const uint8_t* at, const uint8_t* last, list out, buffers, Py_ssize_t* failures
) except NULL:
    cdef uint8_t letter = at[0]
    cdef uint32_t length
    if is_plain_letter(letter):
        return read_plain(at, last, out)
    length = read_length(at, last)
    value = unpacked(letter, PyBytes_FromStringAndSize(<const char*>at + 5, length), buffers)
    failures[0] += type(value) is Failure
    out.append(value)
    return at + 5 + length


cdef inline bint is_plain_letter(uint8_t letter) noexcept:
    return letter != c"P" and letter != c"X" and letter != c"O"


cdef inline uint32_t read_length(const uint8_t* at, const uint8_t* last) except? 0xFFFFFFFF:
    cdef uint32_t length
    if last - at < 5:
        raise ValueError("a record of a worker is cut off")
    memcpy(&length, at + 1, 4)
    if length > <size_t>(last - at - 5):
        raise ValueError("a record of a worker is cut off")
    return length


cdef const uint8_t* read_plain(const uint8_t* at, const uint8_t* last, list out) except NULL:
    cdef uint8_t letter = at[0]
    cdef int64_t number
    cdef double real
    cdef uint32_t length
    if (letter == c"I" or letter == c"D") and last - at < 9:
        raise ValueError("a record of a worker is cut off")
    if letter == c"I":
        memcpy(&number, at + 1, 8)
        out.append(PyLong_FromLongLong(number))
        return at + 9
    if letter == c"D":
        memcpy(&real, at + 1, 8)
        out.append(PyFloat_FromDouble(real))
        return at + 9
    if letter == c"N":
        out.append(None)
        return at + 1
    if letter == c"T" or letter == c"F":
        out.append(PyBool_FromLong(letter == c"T"))
        return at + 1
    length = read_length(at, last)
    if letter == c"S":
        out.append(PyUnicode_DecodeUTF8(<const char*>at + 5, length, NULL))
    elif letter == c"B":
        out.append(PyBytes_FromStringAndSize(<const char*>at + 5, length))
    else:
        raise ValueError(f"a record of unknown kind {letter}")
    return at + 5 + length


cdef object unpacked(uint8_t letter, bytes data, buffers):
    if letter == c"X":
        return Failure(data)
    try:
        return loads(data) if letter == c"P" else buffers(data)
    except (Exception, SystemExit) as error:
        return Failure(pickled_unpickling(error))


cdef bytes pickled_unpickling(error):
    from fastgear.pool.outcome import cannot_be_read

    return cannot_be_read(error)
