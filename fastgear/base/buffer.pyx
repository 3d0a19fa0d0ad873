# SPDX-License-Identifier: MIT
"""Chains of output pieces. The first piece is small, the next ones four times the one before, up to 64 KiB."""

from libc.string cimport memcpy

from fastgear.base.alloc cimport FG_KEEPS, fg_free, fg_gone, fg_have, fg_malloc, fg_may_have
from fastgear.base.blob cimport blob_hold, blob_release
from fastgear.base.status cimport FG_ENOMEM, FG_OK

cdef enum:
    FIRST = 4032                # with its header less than a page; those that were sent are kept for the next ones
    LARGEST = 65536
    GROWTH = 4
    SPARES = 64                 # pieces kept of a size of FIRST


cdef void buffer_init(buffer_t* buffer, pieces_t* spares) noexcept nogil:
    buffer.first = buffer.last = NULL
    buffer.length = 0
    buffer.spares = spares


cdef piece_t* take_first(buffer_t* buffer) noexcept nogil:
    cdef piece_t* piece = buffer.first
    buffer.first = piece.next
    if buffer.first == NULL:
        buffer.last = NULL
    return piece


cdef void drop_first(buffer_t* buffer) noexcept nogil:
    cdef piece_t* piece = take_first(buffer)
    if piece.blob != NULL:
        blob_release(piece.blob)
    elif piece.capacity == FIRST and buffer.spares != NULL and buffer.spares.count < SPARES and FG_KEEPS:
        keep(buffer.spares, piece)
        return
    fg_free(piece)


# What is kept does not count as allocated.

cdef inline void keep(pieces_t* pieces, piece_t* piece) noexcept nogil:
    piece.next = pieces.first
    pieces.first = piece
    pieces.count += 1
    fg_gone(piece)


cdef inline piece_t* take_kept(pieces_t* pieces) noexcept nogil:
    cdef piece_t* piece = pieces.first
    pieces.first = piece.next
    pieces.count -= 1
    fg_have(piece)
    return piece


cdef void pieces_free(pieces_t* pieces) noexcept nogil:
    while pieces.first != NULL:
        fg_free(take_kept(pieces))


cdef void buffer_free(buffer_t* buffer) noexcept nogil:
    while buffer.first != NULL:
        drop_first(buffer)
    buffer.length = 0


cdef void push_back(buffer_t* buffer, piece_t* piece) noexcept nogil:
    piece.next = NULL
    if buffer.last == NULL:
        buffer.first = piece
    else:
        buffer.last.next = piece
    buffer.last = piece


cdef inline piece_t* get(buffer_t* buffer, size_t capacity) noexcept nogil:
    if capacity == FIRST and buffer.spares != NULL and buffer.spares.first != NULL:
        return take_kept(buffer.spares) if fg_may_have() else NULL
    return <piece_t*>fg_malloc(sizeof(piece_t) + capacity)


cdef piece_t* add(buffer_t* buffer, size_t capacity) noexcept nogil:
    cdef piece_t* piece = get(buffer, capacity)
    if piece == NULL:
        return NULL
    piece.blob = NULL
    piece.start = piece.end = 0
    piece.capacity = capacity
    push_back(buffer, piece)
    return piece


cdef inline size_t next_capacity(const buffer_t* buffer) noexcept nogil:
    cdef size_t capacity
    if buffer.last == NULL:
        return FIRST
    capacity = buffer.last.capacity * GROWTH
    return FIRST if capacity < FIRST else LARGEST if capacity > LARGEST else capacity


cdef uint8_t* buffer_add_piece(buffer_t* buffer, size_t length) noexcept nogil:
    cdef size_t capacity = next_capacity(buffer)
    cdef piece_t* piece = add(buffer, length if length > capacity else capacity)
    return piece.bytes if piece != NULL else NULL


cdef int buffer_append(buffer_t* buffer, const void* bytes, size_t length) noexcept nogil:
    cdef uint8_t* to
    if length == 0:
        return FG_OK
    to = buffer_reserve(buffer, length)
    if to == NULL:
        return FG_ENOMEM
    memcpy(to, bytes, length)
    buffer_commit(buffer, length)
    return FG_OK


cdef int buffer_append_blob(buffer_t* buffer, blob_t* blob, size_t start, size_t length) noexcept nogil:
    cdef piece_t* piece
    if length == 0:
        return FG_OK
    piece = add(buffer, 0)
    if piece == NULL:
        return FG_ENOMEM
    blob_hold(blob)
    piece.blob = blob
    piece.start = start
    piece.end = start + length
    buffer.length += length
    return FG_OK


cdef inline uint8_t* piece_bytes(piece_t* piece) noexcept nogil:
    if piece.blob != NULL:
        return piece.blob.bytes
    return piece.bytes


cdef int buffer_gather(const buffer_t* buffer, iovec* pieces, int most) noexcept nogil:
    cdef piece_t* piece = buffer.first
    cdef int count = 0
    while piece != NULL and count < most:
        if piece.end > piece.start:
            pieces[count].iov_base = piece_bytes(piece) + piece.start
            pieces[count].iov_len = piece.end - piece.start
            count += 1
        piece = piece.next
    return count


cdef void buffer_consume(buffer_t* buffer, size_t length) noexcept nogil:
    cdef piece_t* piece
    fg_check(length <= buffer.length)
    buffer.length -= length
    while buffer.first != NULL:
        piece = buffer.first
        if piece.end - piece.start > length:
            piece.start += length
            return
        length -= piece.end - piece.start
        drop_first(buffer)


cdef int buffer_move(buffer_t* to, buffer_t* source, size_t length) noexcept nogil:
    """Whole pieces change hands; a part of one is copied, or held once more."""
    cdef piece_t* piece
    cdef size_t step
    while length > 0:
        piece = source.first
        step = piece.end - piece.start
        if step > length:
            return move_part(to, source, length)
        take_first(source)
        push_back(to, piece)
        source.length -= step
        to.length += step
        length -= step
    return FG_OK


cdef int move_part(buffer_t* to, buffer_t* source, size_t length) noexcept nogil:
    cdef piece_t* piece = source.first
    cdef int status
    if piece.blob != NULL:
        status = buffer_append_blob(to, piece.blob, piece.start, length)
    else:
        status = buffer_append(to, piece.bytes + piece.start, length)
    if status == FG_OK:
        buffer_consume(source, length)
    return status
