# SPDX-License-Identifier: MIT
"""Each request has a slot until it is answered: by the order of acknowledgements, then by the handle."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
from posix.uio cimport iovec

from fastgear.base.alloc cimport fg_calloc, fg_malloc
from fastgear.base.blob cimport blob_copy, blob_t
from fastgear.base.buffer cimport buffer_append, buffer_free, buffer_gather, buffer_init, buffer_t
from fastgear.base.digits cimport MAX_DIGITS, digits_write
from fastgear.base.hash cimport hash_u64
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.bench.fault cimport load_fail, load_fail_text
from fastgear.bench.handles cimport HANDLE_TWICE, SEEN_CREATED, SEEN_FINISHED, handles_saw
from fastgear.bench.histogram cimport histogram_add
from fastgear.bench.model cimport (
    BACKGROUND, ECHO, FOREGROUND, FREE, HIGH, KINDS, LOAD_TWICE, LOAD_WRONG_BYTES, LOAD_WRONG_HANDLE, LOAD_WRONG_LENGTH,
    LOAD_WRONG_PACKET, LOW, MAX_HANDLE, NORMAL, UNIQUE_NONE, UNIQUE_SET, connection_t, load_t, slot_t,
)
from fastgear.protocol.encoder cimport encode_packet, encode_packet_blob, slice_of
from fastgear.protocol.packet cimport PacketType, packet_t, slice_t

cdef enum:
    INLINE = 2048               # bytes of payload that are copied rather than held
    MOST_PREPARED = 64 << 20    # bytes of requests that are encoded beforehand


cdef int client_init(load_t* load, connection_t* connection) noexcept nogil:
    cdef uint32_t i, slots = load.pipeline
    connection.slots = <slot_t*>fg_calloc(slots, sizeof(slot_t))
    connection.unacknowledged = <uint32_t*>fg_malloc((<size_t>load.slot_mask + 1) * sizeof(uint32_t))
    connection.buckets = <uint32_t*>fg_calloc(<size_t>load.slot_mask + 1, sizeof(uint32_t))
    if connection.slots == NULL or connection.unacknowledged == NULL or connection.buckets == NULL:
        return FG_ENOMEM
    for i in range(slots):
        connection.slots[i].kind = FREE
        connection.slots[i].next = i + 2 if i + 1 < slots else 0
    connection.first_free = 1
    return FG_OK


# -- requests ---------------------------------------------------------------------------------------------------------

cdef inline uint64_t random_number(load_t* load) noexcept nogil:
    load.random += 1
    return hash_u64(load.random)


cdef inline int pick(load_t* load, const uint32_t* sums, int count) noexcept nogil:
    """By weights that are summed up."""
    cdef uint32_t number
    cdef int i = 0
    while sums[i] == 0:
        i += 1
    if sums[i] == sums[count - 1]:
        return i
    number = <uint32_t>(random_number(load) % sums[count - 1])
    for i in range(count - 1):
        if number < sums[i]:
            return i
    return count - 1


cdef inline int submit_type(int kind, int priority) noexcept nogil:
    if kind == FOREGROUND:
        if priority == HIGH:
            return PacketType.SUBMIT_JOB_HIGH
        return PacketType.SUBMIT_JOB if priority == NORMAL else PacketType.SUBMIT_JOB_LOW
    if priority == HIGH:
        return PacketType.SUBMIT_JOB_HIGH_BG
    return PacketType.SUBMIT_JOB_BG if priority == NORMAL else PacketType.SUBMIT_JOB_LOW_BG


cdef slice_t next_unique(load_t* load, uint8_t* room) noexcept nogil:
    cdef size_t length = load.unique_prefix_length
    cdef uint64_t number
    if load.unique == UNIQUE_NONE:
        return slice_of(room, 0)
    if load.unique == UNIQUE_SET:
        number = random_number(load) % load.uniques
    else:
        number = load.unique_number
        load.unique_number += 1
    memcpy(room, load.unique_prefix, length)
    return slice_of(room, length + digits_write(room + length, number))


cdef inline void turn_to_next_function(load_t* load) noexcept nogil:
    load.next_function = load.next_function + 1 if load.next_function + 1 < load.function_count else 0


cdef bint is_only_one(const uint32_t* sums, int count) noexcept nogil:
    """Of the weights that are summed up: all others are 0."""
    cdef int i
    for i in range(count):
        if sums[i] != 0 and sums[i] != sums[count - 1]:
            return False
    return True


cdef int client_prepare(load_t* load) noexcept nogil:
    cdef size_t i
    if not is_only_one(load.weights, KINDS) or not is_only_one(load.priorities, LOW + 1) or load.unique != UNIQUE_NONE:
        return FG_OK
    if load.payload.length > INLINE or load.function_count * (load.payload.length + 64) > MOST_PREPARED:
        return FG_OK
    load.submissions = <blob_t**>fg_calloc(load.function_count, sizeof(blob_t*))
    if load.submissions == NULL:
        return FG_ENOMEM
    for i in range(load.function_count):
        load.submissions[i] = one_submission(load)
        if load.submissions[i] == NULL:
            return FG_ENOMEM
    return FG_OK


cdef blob_t* one_submission(load_t* load) noexcept nogil:
    """For the function whose turn it is."""
    cdef buffer_t out
    cdef iovec piece
    cdef blob_t* blob = NULL
    buffer_init(&out, NULL)
    if encode_request(load, &out, pick(load, load.weights, KINDS)) == FG_OK and buffer_gather(&out, &piece, 1) == 1:
        blob = blob_copy(piece.iov_base, piece.iov_len)
    buffer_free(&out)
    return blob


cdef int encode_request(load_t* load, buffer_t* out, int kind) noexcept nogil:
    cdef uint8_t unique[16 + MAX_DIGITS]
    cdef blob_t* payload = load.payload
    cdef slice_t parts[3]
    cdef int type, count = 0
    if kind == ECHO:
        type = PacketType.ECHO_REQ
    else:
        type = submit_type(kind, pick(load, load.priorities, LOW + 1))
        parts[0] = load.functions[load.next_function]
        parts[1] = next_unique(load, unique)
        count = 2
    turn_to_next_function(load)
    if payload.length > INLINE:
        return encode_packet_blob(out, True, type, parts, count, payload, 0, payload.length)
    parts[count] = slice_of(payload.bytes, payload.length)
    return encode_packet(out, True, type, parts, count + 1)


cdef inline int append_request(load_t* load, buffer_t* out, int kind) noexcept nogil:
    cdef blob_t* submission
    if load.submissions == NULL:
        return encode_request(load, out, kind)
    submission = load.submissions[load.next_function]
    turn_to_next_function(load)
    return buffer_append(out, submission.bytes, submission.length)


cdef int client_request(load_t* load, connection_t* connection, int64_t since_ns) noexcept nogil:
    cdef int kind = pick(load, load.weights, KINDS)
    cdef uint32_t index = connection.first_free - 1
    cdef slot_t* slot = &connection.slots[index]
    if append_request(load, &connection.out, kind) != FG_OK:
        return load_fail(load, FG_ENOMEM, NULL, 0, 0)
    connection.first_free = slot.next
    slot.since_ns = since_ns
    slot.kind = <uint8_t>kind
    connection.unacknowledged[connection.newest & load.slot_mask] = index
    connection.newest += 1
    connection.under_way += 1
    load.under_way += 1
    load.counts.sent += 1
    if kind != ECHO:
        load.counts.jobs += 1
    if kind == BACKGROUND:
        load.counts.background += 1
    return FG_OK


cdef int client_refill(load_t* load, connection_t* connection) noexcept nogil:
    cdef int status = FG_OK
    while status == FG_OK and connection.first_free > 0 and not load_is_closing(load):
        status = client_request(load, connection, load.now_ns)
    return status


# -- answers ----------------------------------------------------------------------------------------------------------

cdef int client_on_packet(load_t* load, connection_t* connection, const packet_t* packet) noexcept nogil:
    if packet.type == PacketType.JOB_CREATED:
        return on_created(load, connection, packet)
    if packet.type == PacketType.WORK_COMPLETE:
        return on_complete(load, connection, packet)
    if packet.type == PacketType.ECHO_RES:
        return on_echo(load, connection, packet)
    return load_fail(load, LOAD_WRONG_PACKET, packet, 0, 0)


cdef slot_t* oldest_unacknowledged(load_t* load, connection_t* connection) noexcept nogil:
    """NULL: there is none."""
    if connection.oldest == connection.newest:
        return NULL
    return &connection.slots[connection.unacknowledged[connection.oldest & load.slot_mask]]


cdef inline uint32_t* bucket_of(load_t* load, connection_t* connection, const uint8_t* handle, size_t length) noexcept nogil:
    """By its last bytes, in which the handles of a server differ."""
    cdef uint64_t last = 0
    if length >= sizeof(last):
        memcpy(&last, handle + length - sizeof(last), sizeof(last))
    else:
        memcpy(&last, handle, length)
    return &connection.buckets[hash_u64(last) & load.slot_mask]


cdef int on_created(load_t* load, connection_t* connection, const packet_t* packet) noexcept nogil:
    cdef slot_t* slot = oldest_unacknowledged(load, connection)
    cdef uint32_t* bucket
    cdef int status
    cdef bint background
    if slot == NULL or slot.kind == ECHO:
        return load_fail(load, LOAD_WRONG_PACKET, packet, 0, 0)
    if packet.args[0].length > MAX_HANDLE or packet.args[0].length == 0:
        return load_fail(load, LOAD_WRONG_LENGTH, packet, packet.args[0].length, MAX_HANDLE)
    background = slot.kind == BACKGROUND
    load.counts.acknowledged += 1
    if load.handles != NULL:
        status = handles_saw(load.handles, packet.args[0], SEEN_CREATED | (SEEN_FINISHED if background else 0))
        if status != FG_OK:
            return load_fail_text(load, LOAD_TWICE if status == HANDLE_TWICE else status, packet.args[0], slice_of(NULL, 0))
    if background:
        connection.oldest += 1
        return finish(load, connection, slot)
    slot.handle_length = <uint8_t>packet.args[0].length
    memcpy(slot.handle, packet.args[0].bytes, packet.args[0].length)
    bucket = bucket_of(load, connection, slot.handle, slot.handle_length)
    slot.next = bucket[0]
    bucket[0] = <uint32_t>(slot - connection.slots) + 1
    connection.oldest += 1
    return FG_OK


cdef slot_t* take_slot(load_t* load, connection_t* connection, slice_t handle) noexcept nogil:
    """The one with this handle, out of its bucket; NULL: there is none."""
    cdef uint32_t* link = bucket_of(load, connection, handle.bytes, handle.length)
    cdef slot_t* slot
    while link[0] > 0:
        slot = &connection.slots[link[0] - 1]
        if slot.handle_length == handle.length and memcmp(slot.handle, handle.bytes, handle.length) == 0:
            link[0] = slot.next
            return slot
        link = &slot.next
    return NULL


cdef int on_complete(load_t* load, connection_t* connection, const packet_t* packet) noexcept nogil:
    cdef slot_t* slot = take_slot(load, connection, packet.args[0])
    cdef int status
    if slot == NULL:
        return load_fail_text(load, LOAD_WRONG_HANDLE, packet.args[0], slice_of(NULL, 0))
    status = check_data(load, packet, load.result)
    if status != FG_OK:
        return status
    if load.handles != NULL:
        status = handles_saw(load.handles, packet.args[0], SEEN_FINISHED)
        if status != FG_OK:
            return load_fail_text(load, LOAD_TWICE if status == HANDLE_TWICE else status, packet.args[0], slice_of(NULL, 0))
    return finish(load, connection, slot)


cdef int on_echo(load_t* load, connection_t* connection, const packet_t* packet) noexcept nogil:
    cdef slot_t* slot = oldest_unacknowledged(load, connection)
    cdef int status
    if slot == NULL or slot.kind != ECHO:
        return load_fail(load, LOAD_WRONG_PACKET, packet, 0, 0)
    status = check_data(load, packet, load.payload)
    connection.oldest += 1
    return finish(load, connection, slot) if status == FG_OK else status


cdef int client_on_refusal(load_t* load, connection_t* connection, const packet_t* packet) noexcept nogil:
    cdef slot_t* slot = oldest_unacknowledged(load, connection)
    if slot == NULL:
        return load_fail(load, LOAD_WRONG_PACKET, packet, 0, 0)
    if slot.kind != ECHO:
        load.counts.jobs -= 1
    if slot.kind == BACKGROUND:
        load.counts.background -= 1
    load.counts.refused += 1
    connection.oldest += 1
    return give_back(load, connection, slot)


cdef int check_data(load_t* load, const packet_t* packet, const blob_t* wanted) noexcept nogil:
    """The length, and the first bytes."""
    cdef size_t length = packet.data.length if packet.data.length < 8 else 8
    if packet.data_length != wanted.length:
        return load_fail(load, LOAD_WRONG_LENGTH, packet, packet.data_length, wanted.length)
    if length > 0 and memcmp(packet.data.bytes, wanted.bytes, length) != 0:
        return load_fail(load, LOAD_WRONG_BYTES, packet, 0, 0)
    return FG_OK


cdef int finish(load_t* load, connection_t* connection, slot_t* slot) noexcept nogil:
    histogram_add(load.latencies, load.now_ns - slot.since_ns)
    load.counts.finished += 1
    return give_back(load, connection, slot)


cdef int give_back(load_t* load, connection_t* connection, slot_t* slot) noexcept nogil:
    """The slot, for another request."""
    slot.kind = FREE
    slot.next = connection.first_free
    connection.first_free = <uint32_t>(slot - connection.slots) + 1
    connection.under_way -= 1
    load.under_way -= 1
    load.last_ns = load.now_ns
    return client_refill(load, connection) if load.interval_ns == 0 else FG_OK
