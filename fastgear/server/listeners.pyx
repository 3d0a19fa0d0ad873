# SPDX-License-Identifier: MIT
"""Listening sockets: who is let in, and what those are told who are not."""

from posix.uio cimport iovec

from fastgear.base.alloc cimport fg_calloc, fg_free
from fastgear.base.buffer cimport buffer_free, buffer_gather, buffer_init, buffer_t
from fastgear.base.list cimport link_t, list_is_empty, list_pop_front, list_push_back
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.protocol.encoder cimport encode_error
from fastgear.server.connection cimport connection_new
from fastgear.server.model cimport WATCH_LISTENER, connection_t, listener_from_in_listeners
from fastgear.server.sys cimport (
    ECONNABORTED, EEXIST, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, MSG_DONTWAIT,
    MSG_NOSIGNAL, O_CLOEXEC, O_RDONLY, SOCK_CLOEXEC, SOCK_NONBLOCK, accept4, close, epoll_ctl, epoll_event, errno, open, send,
)

cdef enum:
    MAX_ACCEPTS = 64            # of one listener in one turn
    REST_NS = 100000000


cdef int watch(loop_t* loop, watch_t* watched) noexcept nogil:
    cdef epoll_event event
    event.events = EPOLLIN
    event.data.ptr = watched
    return epoll_ctl(loop.epoll_fd, EPOLL_CTL_ADD, watched.fd, &event)


cdef int listener_add(loop_t* loop, int fd) noexcept nogil:
    cdef listener_t* listener = <listener_t*>fg_calloc(1, sizeof(listener_t))
    if listener == NULL:
        return FG_ENOMEM
    listener.watch.kind = WATCH_LISTENER
    listener.watch.fd = fd
    if watch(loop, &listener.watch) != 0:
        fg_free(listener)
        return -1
    list_push_back(&loop.listeners, &listener.in_listeners)
    return FG_OK


cdef void close_listeners(loop_t* loop) noexcept nogil:
    cdef listener_t* listener
    while not list_is_empty(&loop.listeners):
        listener = listener_from_in_listeners(list_pop_front(&loop.listeners))
        epoll_ctl(loop.epoll_fd, EPOLL_CTL_DEL, listener.watch.fd, NULL)
        close(listener.watch.fd)
        fg_free(listener)


cdef void accept_some(loop_t* loop, listener_t* listener) noexcept nogil:
    cdef int _i, fd
    for _i in range(MAX_ACCEPTS):
        fd = accept4(listener.watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            take_in(loop, fd)
        elif errno == EMFILE or errno == ENFILE:
            turn_one_away(loop, listener)
            return
        elif errno == ENOMEM or errno == ENOBUFS:
            rest(loop)
            return
        elif errno != EINTR and errno != ECONNABORTED:
            return


cdef void take_in(loop_t* loop, int fd) noexcept nogil:
    cdef connection_t* connection
    if loop.max_connections and loop.connection_count >= loop.max_connections:
        turn_away(loop, fd, "The server has as many connections as it may have")
        return
    connection = connection_new(&loop.state, loop.epoll_fd, fd)
    if connection == NULL:
        turn_away(loop, fd, "The server is out of memory")
        return
    list_push_back(&loop.connections, &connection.in_connections)
    loop.connection_count += 1
    loop.accepted += 1


cdef void turn_away(loop_t* loop, int fd, const char* reason) noexcept nogil:
    cdef buffer_t out
    cdef iovec piece
    buffer_init(&out, NULL)
    if encode_error(&out, "TOO_MANY_CONNECTIONS", reason) == FG_OK and buffer_gather(&out, &piece, 1) == 1:
        send(fd, piece.iov_base, piece.iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
    buffer_free(&out)
    close(fd)
    loop.turned_away += 1


cdef void turn_one_away(loop_t* loop, listener_t* listener) noexcept nogil:
    """Out of descriptors: use the spare one to tell whoever is first in the queue, instead of spinning on it.

    Where another thread has taken that one as well, nobody can be told, and the listeners rest for a while.
    """
    cdef int fd
    if loop.spare_fd >= 0:
        close(loop.spare_fd)
    fd = accept4(listener.watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd >= 0:
        turn_away(loop, fd, "The server is out of file descriptors")
    elif errno == EMFILE or errno == ENFILE:
        rest(loop)
    loop.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC)


cdef void rest(loop_t* loop) noexcept nogil:
    cdef link_t* link = loop.listeners.next
    while link != &loop.listeners:
        epoll_ctl(loop.epoll_fd, EPOLL_CTL_DEL, listener_from_in_listeners(link).watch.fd, NULL)
        link = link.next
    loop.listen_again_ns = loop.state.now_ns + REST_NS


cdef void listen_again(loop_t* loop) noexcept nogil:
    cdef link_t* link = loop.listeners.next
    if loop.state.now_ns < loop.listen_again_ns:
        return
    loop.listen_again_ns = 0
    while link != &loop.listeners:
        if watch(loop, &listener_from_in_listeners(link).watch) != 0 and errno != EEXIST:
            loop.listen_again_ns = loop.state.now_ns + REST_NS  # once more; those that are watched then say EEXIST
        link = link.next
