# SPDX-License-Identifier: MIT
"""The parsers of the wire, given any bytes: what they say of the whole agrees with what they say of its beginnings."""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort
from libc.string cimport memcmp, memcpy

from fastgear.base.buffer cimport buffer_free, buffer_init, buffer_length, buffer_t
from fastgear.base.status cimport FG_NEED_MORE, FG_OK
from fastgear.core.schedule cimport schedule_next, schedule_read, schedule_t
from fastgear.protocol.encoder cimport encode_packet
from fastgear.protocol.packet cimport (
    HEADER_SIZE, packet_fact, packet_read, packet_read_head, packet_t, slice_t,
)
from fastgear.protocol.text cimport MAX_WORDS, line_read, line_t, parse_i64, text_name, word_is

cdef int64_t MOST = 10**18 - 1      # of a number of 18 digits


cdef const char* parse(const uint8_t* bytes, size_t length) noexcept nogil:
    cdef const char* complaint = packet_complaint(bytes, length)
    if complaint == NULL:
        complaint = line_complaint(bytes, length)
    if complaint == NULL:
        complaint = number_complaint(bytes, length)
    if complaint == NULL:
        complaint = schedule_complaint(bytes, length)
    return complaint


# -- packets ----------------------------------------------------------------------------------------------------------

cdef const char* packet_complaint(const uint8_t* bytes, size_t length) noexcept nogil:
    cdef packet_t packet
    cdef packet_t again
    cdef size_t available
    cdef int status = packet_read(bytes, length, &packet)
    cdef int before
    if status == FG_OK and (packet.length > length or packet.length < HEADER_SIZE):
        return "a packet is longer than what is there"
    for available in range(length):
        before = packet_read(bytes, available, &again)
        if before != FG_NEED_MORE and before != status:
            return "of the beginning of a packet something else is said than of the whole"
        if before == FG_OK and available < packet.length:
            return "a packet is whole before its end"
        if again.length != 0 and again.length != packet.length:
            return "the length of a packet changes"
    if status != FG_OK:
        return NULL
    return same_head(bytes, length, &packet)


cdef const char* same_head(const uint8_t* bytes, size_t length, packet_t* packet) noexcept nogil:
    """Arguments are where they are, however much of the data has come; and written again, the packet is the same."""
    cdef packet_t head
    cdef size_t available, most = min(length, packet.length)
    cdef uint32_t i
    cdef int status
    for available in range(most + 1):
        status = packet_read_head(bytes, available, &head)
        if status == FG_NEED_MORE:
            continue
        if status != FG_OK:
            return "the head of a good packet is bad"
        if head.arguments != packet.arguments or head.data_length != packet.data_length:
            return "the head of a packet says something else than the packet"
        for i in range(head.arguments):
            if head.args[i].bytes != packet.args[i].bytes or head.args[i].length != packet.args[i].length:
                return "an argument moves when more of the packet comes"
    return same_again(bytes, packet)


cdef const char* same_again(const uint8_t* bytes, packet_t* packet) noexcept nogil:
    cdef slice_t parts[9]
    cdef buffer_t out
    cdef uint32_t i, count = packet.arguments
    cdef size_t end = HEADER_SIZE
    cdef const char* complaint = NULL
    cdef size_t written
    for i in range(count):
        parts[i] = packet.args[i]
        if parts[i].bytes < bytes + end or parts[i].bytes + parts[i].length > bytes + packet.length:
            return "an argument is outside of its packet"
        end = parts[i].bytes - bytes
    if packet_fact(packet.type).has_data:
        parts[count] = packet.data
        count += 1
    elif count == 0:
        return NULL  # what there is too much of it is not read
    if count == 2 and packet.arguments == 1 and packet.length == HEADER_SIZE + parts[0].length:
        return NULL  # a report that is nothing but a handle, without its NUL
    buffer_init(&out, NULL)
    encode_packet(&out, packet.is_request, packet.type, parts, <int>count)
    written = buffer_length(&out)
    if written != packet.length or out.first == NULL or memcmp(out.first.bytes + out.first.start, bytes, written) != 0:
        complaint = "a packet that is read and written is another one"
    buffer_free(&out)
    return complaint


# -- text -------------------------------------------------------------------------------------------------------------

cdef const char* line_complaint(const uint8_t* bytes, size_t length) noexcept nogil:
    cdef line_t line
    cdef buffer_t out
    cdef size_t at
    cdef int i
    cdef uint8_t byte
    cdef const char* complaint = NULL
    if line_read(bytes, length, &line) != FG_OK:
        return NULL
    if line.length > length or bytes[line.length - 1] != 10:
        return "a line does not end where it ends"
    buffer_init(&out, NULL)
    for i in range(line.count if line.count < MAX_WORDS else MAX_WORDS):
        if line.words[i].bytes < bytes or line.words[i].bytes + line.words[i].length > bytes + line.length:
            complaint = "a word is outside of its line"
        word_is(line.words[i], "status")
        text_name(&out, line.words[i], True)
    if out.first != NULL and out.first == out.last:
        for at in range(out.first.start, out.first.end):
            byte = out.first.bytes[at]
            if byte <= 32 or byte == 127:
                complaint = "a name in a listing has a control character or a blank"
    buffer_free(&out)
    return complaint


cdef const char* number_complaint(const uint8_t* bytes, size_t length) noexcept nogil:
    cdef slice_t text
    cdef long long value = 0
    text.bytes = bytes
    text.length = length
    if parse_i64(text, &value) and (length > 19 or value > MOST or value < -MOST):
        return "a number is larger than its digits"
    return NULL


# -- schedules --------------------------------------------------------------------------------------------------------

cdef const char* schedule_complaint(const uint8_t* bytes, size_t length) noexcept nogil:
    """Five short fields, each with its length before it, and then a time."""
    cdef slice_t fields[5]
    cdef schedule_t schedule
    cdef uint64_t now_s = 0
    cdef size_t at = 0
    cdef int i
    cdef int64_t due_s
    for i in range(5):
        if at >= length:
            return NULL
        fields[i].length = min(<size_t>(bytes[at] & 3), length - at - 1)
        fields[i].bytes = bytes + at + 1
        at += 1 + fields[i].length
    memcpy(&now_s, bytes + at, min(length - at, <size_t>5))
    now_s %= <uint64_t>9000000000
    if not schedule_read(fields, &schedule):
        return NULL
    due_s = schedule_next(&schedule, <int64_t>now_s)
    if due_s >= 0 and (due_s <= <int64_t>now_s or due_s % 60 != 0 or due_s > <int64_t>now_s + 14977 * 86400):
        return "a schedule is due in the past, or too late"
    return NULL


# -- doors ------------------------------------------------------------------------------------------------------------

cdef int one_input(const uint8_t* bytes, size_t length) noexcept:
    cdef const char* complaint = parse(bytes, length)
    if complaint != NULL:
        fprintf(stderr, "fastgear: %s\n", complaint)
        abort()
    return 0


door = PyCapsule_New(<void*>one_input, "one_input", NULL)


def play(bytes data not None):
    """Raise AssertionError for what is broken."""
    cdef const char* complaint = parse(<const uint8_t*>PyBytes_AS_STRING(data), len(data))
    assert complaint == NULL, (<bytes>complaint).decode()
