# SPDX-License-Identifier: MIT
"""Listening sockets of a loop."""

from fastgear.server.model cimport listener_t, loop_t, watch_t

cdef int watch(loop_t* loop, watch_t* watched) noexcept nogil  # 0, or -1 with errno
cdef int listener_add(loop_t* loop, int fd) noexcept nogil  # takes fd over; FG_OK, FG_ENOMEM, or -1 with errno
cdef void close_listeners(loop_t* loop) noexcept nogil
# Watch them again, if they had to rest and have.
cdef void listen_again(loop_t* loop) noexcept nogil
cdef void accept_some(loop_t* loop, listener_t* listener) noexcept nogil
