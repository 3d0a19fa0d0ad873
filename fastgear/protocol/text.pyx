# SPDX-License-Identifier: MIT
"""Text commands: words in, listing fields out. Knows no command by name; those are the core's."""

from libc.string cimport memchr, strlen

from fastgear.base.buffer cimport buffer_append
from fastgear.base.digits cimport MAX_DIGITS, digits_write
from fastgear.base.status cimport FG_NEED_MORE, FG_OK
from fastgear.protocol.encoder cimport slice_of


cdef int line_read(const uint8_t* bytes, size_t available, line_t* line) noexcept nogil:
    cdef const uint8_t* newline = <const uint8_t*>memchr(bytes, 10, available)
    cdef const uint8_t* end
    cdef const uint8_t* at = bytes
    cdef const uint8_t* start
    if newline == NULL:
        return FG_NEED_MORE
    line.length = newline + 1 - bytes
    line.count = 0
    end = newline - 1 if newline > bytes and newline[-1] == 13 else newline
    while at < end:
        start = at
        while at < end and at[0] != 32:
            at += 1
        if at > start:
            if line.count < MAX_WORDS:
                line.words[line.count] = slice_of(start, at - start)
            line.count += 1
        at += 1
    return FG_OK


cdef bint word_is(slice_t found, const char* word) noexcept nogil:
    cdef size_t i
    cdef uint8_t letter
    if found.length != strlen(word):
        return False
    for i in range(found.length):
        letter = found.bytes[i]
        if 65 <= letter <= 90:
            letter += 32
        if letter != <uint8_t>word[i]:
            return False
    return True


cdef bint parse_i64(slice_t found, long long* value) noexcept nogil:
    cdef size_t i = 0
    cdef bint negative = found.length > 0 and found.bytes[0] == 45
    cdef long long result = 0
    if negative:
        i = 1
    if i == found.length or found.length - i > 18:
        return False
    while i < found.length:
        if found.bytes[i] < 48 or found.bytes[i] > 57:
            return False
        result = result * 10 + (found.bytes[i] - 48)
        i += 1
    value[0] = -result if negative else result
    return True


cdef int text_bytes(buffer_t* out, slice_t bytes) noexcept nogil:
    return buffer_append(out, bytes.bytes, bytes.length)


cdef int text_string(buffer_t* out, const char* string) noexcept nogil:
    return buffer_append(out, <const uint8_t*>string, strlen(string))


cdef int text_number(buffer_t* out, uint64_t number) noexcept nogil:
    cdef uint8_t digits[MAX_DIGITS]
    return buffer_append(out, digits, digits_write(digits, number))


cdef inline uint8_t hex_digit(uint8_t value) noexcept nogil:
    return 48 + value if value < 10 else 87 + value


cdef int text_name(buffer_t* out, slice_t name, bint blanks) noexcept nogil:
    cdef uint8_t escaped[4]
    cdef size_t i, clean = 0
    cdef uint8_t byte
    cdef int status = FG_OK
    escaped[0] = 92
    escaped[1] = 120
    for i in range(name.length):
        byte = name.bytes[i]
        if byte > 32 and byte != 127 or byte == 32 and not blanks:
            continue
        status |= buffer_append(out, name.bytes + clean, i - clean)
        escaped[2] = hex_digit(byte >> 4)
        escaped[3] = hex_digit(byte & 15)
        status |= buffer_append(out, escaped, 4)
        clean = i + 1
    return status | buffer_append(out, name.bytes + clean, name.length - clean)
