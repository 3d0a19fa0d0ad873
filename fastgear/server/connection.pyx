# SPDX-License-Identifier: MIT
"""Reading and writing one socket. Whose turn it is, and when a connection ends, is the loop's business."""

from libc.string cimport memset, strcpy
from posix.uio cimport iovec

from fastgear.base.alloc cimport fg_calloc, fg_free
from fastgear.base.buffer cimport buffer_consume, buffer_gather, buffer_length
from fastgear.base.list cimport link_init
from fastgear.core.input cimport input_filled, input_receive, input_resume, input_wants
from fastgear.core.model cimport MAX_ADDRESS
from fastgear.core.state cimport state_connect
from fastgear.server.sys cimport (
    AF_INET, AF_INET6, EAGAIN, EINTR, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, IPPROTO_TCP, MSG_NOSIGNAL,
    TCP_QUICKACK, close, epoll_ctl, epoll_event, errno, inet_ntop, msghdr, recv, send, sendmsg, setsockopt, sockaddr,
    sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t,
)

cdef extern from "<sys/socket.h>" nogil:
    int getpeername(int fd, sockaddr* address, socklen_t* length)

cdef enum:
    MAX_PIECES = 64             # of one sendmsg


cdef connection_t* connection_new(state_t* state, int epoll_fd, int fd) noexcept nogil:
    cdef connection_t* connection = <connection_t*>fg_calloc(1, sizeof(connection_t))
    cdef epoll_event event
    if connection == NULL:
        return NULL
    connection.watch.kind = WATCH_CONNECTION
    connection.watch.fd = fd
    connection.interest = EPOLLIN
    link_init(&connection.in_connections)
    link_init(&connection.in_ending)
    event.events = EPOLLIN
    event.data.ptr = connection
    connection.peer = state_connect(state)
    if connection.peer == NULL:
        fg_free(connection)
        return NULL
    connection.peer.owner = connection
    connection.peer.fd = fd
    connection.is_tcp = name_peer(fd, connection.peer.address)
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)
    return connection


cdef bint name_peer(int fd, char* to) noexcept nogil:
    """Its address as text for the listing of workers; True for TCP."""
    cdef sockaddr_storage address
    cdef socklen_t length = sizeof(address)
    memset(&address, 0, sizeof(address))
    getpeername(fd, <sockaddr*>&address, &length)
    if address.ss_family == AF_INET:
        inet_ntop(AF_INET, &(<sockaddr_in*>&address).sin_addr, to, MAX_ADDRESS)
        return True
    if address.ss_family == AF_INET6:
        inet_ntop(AF_INET6, &(<sockaddr_in6*>&address).sin6_addr, to, MAX_ADDRESS)
        return True
    strcpy(to, "unix")
    return False


cdef void connection_free(connection_t* connection) noexcept nogil:
    close(connection.watch.fd)
    fg_free(connection)


# -- in ---------------------------------------------------------------------------------------------------------------

cdef bint connection_read(state_t* state, connection_t* connection, uint8_t* scratch) noexcept nogil:
    cdef uint8_t* to
    cdef size_t kept, wanted = input_wants(state, connection.peer, &to)
    cdef ssize_t got
    if wanted > 0:
        got = recv(connection.watch.fd, to, wanted, 0)
        if got > 0:
            input_filled(state, connection.peer, got)
            acknowledge_soon(connection)
        return goes_on(got)
    kept = input_resume(connection.peer, scratch)
    got = recv(connection.watch.fd, scratch + kept, SCRATCH - kept, 0)
    input_receive(state, connection.peer, scratch, kept + (got if got > 0 else 0))
    acknowledge_soon(connection)
    return goes_on(got)


cdef inline bint goes_on(ssize_t got) noexcept nogil:
    return got > 0 or (got < 0 and (errno == EAGAIN or errno == EINTR))


cdef inline void acknowledge_soon(connection_t* connection) noexcept nogil:
    """While a large packet is under way, ask for prompt acknowledgements: senders that write header and data apart,
    as libgearman does, would otherwise wait 40 ms for one (Nagle against delayed acknowledgement)."""
    cdef int on = 1
    if connection.is_tcp and connection.peer.blob != NULL:
        setsockopt(connection.watch.fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on))


cdef bint connection_discard(connection_t* connection, uint8_t* scratch) noexcept nogil:
    return goes_on(recv(connection.watch.fd, scratch, SCRATCH, 0))


# -- out --------------------------------------------------------------------------------------------------------------

cdef bint connection_write(connection_t* connection) noexcept nogil:
    cdef iovec pieces[MAX_PIECES]
    cdef msghdr message
    cdef ssize_t done
    cdef int count = buffer_gather(&connection.peer.out, pieces, MAX_PIECES)
    if count == 0:
        return True
    if count == 1:
        done = send(connection.watch.fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL)
    else:
        memset(&message, 0, sizeof(message))
        message.msg_iov = pieces
        message.msg_iovlen = count
        done = sendmsg(connection.watch.fd, &message, MSG_NOSIGNAL)
    if done < 0:
        return errno == EAGAIN or errno == EINTR
    buffer_consume(&connection.peer.out, done)
    return True


cdef void connection_watch(int epoll_fd, connection_t* connection, size_t read_below) noexcept nogil:
    cdef epoll_event event
    cdef size_t waiting = buffer_length(&connection.peer.out) if connection.peer != NULL else 0
    cdef bint closing = connection.peer != NULL and connection.peer.closing
    event.events = EPOLLOUT if waiting > 0 else 0
    if not connection.eof and not closing and waiting < read_below:
        event.events |= EPOLLIN
    if event.events == connection.interest:
        return
    event.data.ptr = connection
    connection.interest = event.events
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, connection.watch.fd, &event)
