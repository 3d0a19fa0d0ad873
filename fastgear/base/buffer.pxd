# SPDX-License-Identifier: MIT
"""Output that waits: a chain of pieces, each either bytes of its own or a part of a blob. Empty, it holds no memory."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from posix.uio cimport iovec

from fastgear.base.blob cimport blob_t
from fastgear.base.check cimport fg_check

ctypedef struct piece_t:
    piece_t* next
    blob_t* blob                # held; NULL: the bytes are the piece's own
    size_t start                # waiting are the bytes from start to end
    size_t end
    size_t capacity             # of bytes
    uint8_t bytes[1]

# Smallest pieces that buffers of one owner have left, for the next ones that need any; all zero at the beginning.
ctypedef struct pieces_t:
    piece_t* first
    uint32_t count

ctypedef struct buffer_t:
    piece_t* first
    piece_t* last
    size_t length               # bytes waiting
    pieces_t* spares            # borrowed, or NULL

cdef void buffer_init(buffer_t* buffer, pieces_t* spares) noexcept nogil
cdef void buffer_free(buffer_t* buffer) noexcept nogil  # empty after it, and usable again
cdef void pieces_free(pieces_t* pieces) noexcept nogil
cdef int buffer_append(buffer_t* buffer, const void* bytes, size_t length) noexcept nogil  # FG_OK or FG_ENOMEM
cdef int buffer_append_blob(buffer_t* buffer, blob_t* blob, size_t start, size_t length) noexcept nogil  # likewise
# Fill in up to `most` pieces, from the first, and return how many.
cdef int buffer_gather(const buffer_t* buffer, iovec* pieces, int most) noexcept nogil
cdef void buffer_consume(buffer_t* buffer, size_t length) noexcept nogil
# The first bytes of one go to the end of the other. FG_OK or FG_ENOMEM, after which some of them may have gone.
cdef int buffer_move(buffer_t* to, buffer_t* source, size_t length) noexcept nogil
cdef uint8_t* buffer_add_piece(buffer_t* buffer, size_t length) noexcept nogil

cdef inline size_t buffer_length(const buffer_t* buffer) noexcept nogil:
    return buffer.length

# Room for so many bytes in a row, for buffer_commit after they are written; NULL: no memory.
cdef inline uint8_t* buffer_reserve(buffer_t* buffer, size_t length) noexcept nogil:
    cdef piece_t* last = buffer.last
    if last != NULL and last.blob == NULL and last.capacity - last.end >= length:
        return last.bytes + last.end
    return buffer_add_piece(buffer, length)

cdef inline void buffer_commit(buffer_t* buffer, size_t length) noexcept nogil:
    fg_check(buffer.last != NULL and buffer.last.capacity - buffer.last.end >= length)
    buffer.last.end += length
    buffer.length += length

# All of it is gone: as buffer_consume, but a lone piece of bytes stays for what comes next.
cdef inline void buffer_rewind(buffer_t* buffer) noexcept nogil:
    if buffer.first != NULL and buffer.first == buffer.last and buffer.first.blob == NULL:
        buffer.first.start = buffer.first.end = 0
        buffer.length = 0
    else:
        buffer_consume(buffer, buffer.length)

# Take back what was committed last.
cdef inline void buffer_uncommit(buffer_t* buffer, size_t length) noexcept nogil:
    fg_check(buffer.last.end - buffer.last.start >= length)
    buffer.last.end -= length
    buffer.length -= length
