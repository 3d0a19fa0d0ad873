# SPDX-License-Identifier: MIT
"""Reading and writing one socket. Whose turn it is, and when a connection ends, is the loop's business."""

from libc.string cimport memset, strcpy
from posix.uio cimport iovec

from fastgear.base.alloc cimport fg_calloc, fg_free
from fastgear.base.buffer cimport buffer_gather, buffer_length
from fastgear.base.list cimport link_init
from fastgear.core.flow cimport flow_review, flow_sent
from fastgear.core.input cimport input_filled, input_receive, input_resume, input_wants
from fastgear.core.model cimport HOLD_NOTHING, HOLD_TURN, MAX_ADDRESS, peer_t
from fastgear.core.state cimport state_connect, state_disconnect
from fastgear.server.model cimport SCRATCH, WATCH_CONNECTION
from fastgear.server.sys cimport (
    AF_INET, AF_INET6, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, IPPROTO_TCP,
    MSG_NOSIGNAL, SIOCOUTQ, TCP_INFO, TCP_QUICKACK, close, epoll_ctl, epoll_event, errno, getsockopt, inet_ntop, ioctl,
    is_passing, is_scarcity, msghdr, recv, send, sendmsg, setsockopt, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage,
    socklen_t, tcp_info,
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
    link_init(&connection.in_unproven)
    link_init(&connection.in_talkers)
    connection.watched = True
    event.events = EPOLLIN
    event.data.ptr = connection
    connection.peer = state_connect(state)
    if connection.peer == NULL:
        fg_free(connection)
        return NULL
    connection.peer.owner = connection
    connection.peer.fd = fd
    connection.is_tcp = name_peer(fd, connection.peer.address)
    if epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0:
        state_disconnect(state, connection.peer)
        fg_free(connection)
        return NULL
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


cdef void connection_free(int epoll_fd, connection_t* connection) noexcept nogil:
    """Out of epoll first: a child that has just been forked may hold a copy of the socket, and epoll would go on with it."""
    if connection.watched:
        connection_unwatch(epoll_fd, connection)
    close(connection.watch.fd)
    fg_free(connection)


# -- in ---------------------------------------------------------------------------------------------------------------

cdef bint connection_read(state_t* state, connection_t* connection, uint8_t* scratch) noexcept nogil:
    cdef uint8_t* to
    cdef size_t kept, wanted = input_wants(state, connection.peer, &to)
    cdef ssize_t got
    cdef bint there
    if wanted > 0:
        got = recv(connection.watch.fd, to, wanted, 0)
        there = goes_on(connection, got)
        if got > 0:
            input_filled(state, connection.peer, got)
            acknowledge_soon(connection)
        return there
    kept = input_resume(connection.peer, scratch)
    got = recv(connection.watch.fd, scratch + kept, SCRATCH - kept, 0)
    there = goes_on(connection, got)
    if got > 0:
        connection.talks = scratch[0] != 0
    input_receive(state, connection.peer, scratch, kept + (got if got > 0 else 0))
    acknowledge_soon(connection)
    return there


cdef inline bint goes_on(connection_t* connection, ssize_t got) noexcept nogil:
    connection.starved = got < 0 and is_scarcity(errno)
    return got > 0 or (got < 0 and is_passing(errno))


cdef inline void acknowledge_soon(connection_t* connection) noexcept nogil:
    """While a large packet is under way, ask for prompt acknowledgements: senders that write header and data apart,
    as libgearman does, would otherwise wait 40 ms for one (Nagle against delayed acknowledgement)."""
    cdef int on = 1
    if connection.is_tcp and connection.peer.blob != NULL:
        setsockopt(connection.watch.fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on))


cdef bint connection_discard(connection_t* connection, uint8_t* scratch) noexcept nogil:
    return goes_on(connection, recv(connection.watch.fd, scratch, SCRATCH, 0))


# -- out --------------------------------------------------------------------------------------------------------------

cdef bint connection_write(state_t* state, connection_t* connection) noexcept nogil:
    cdef iovec pieces[MAX_PIECES]
    cdef msghdr message
    cdef ssize_t done
    cdef int count = buffer_gather(&connection.peer.out, pieces, MAX_PIECES)
    if count == 0:
        flow_review(state, connection.peer)
        return True
    if count == 1:
        done = send(connection.watch.fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL)
    else:
        memset(&message, 0, sizeof(message))
        message.msg_iov = pieces
        message.msg_iovlen = count
        done = sendmsg(connection.watch.fd, &message, MSG_NOSIGNAL)
    connection.starved = done < 0 and is_scarcity(errno)
    if done < 0 and not is_passing(errno):
        return False
    flow_sent(state, connection.peer, done if done > 0 else 0)
    return True


cdef inline uint32_t wanted_events(const connection_t* connection) noexcept nogil:
    cdef const peer_t* peer = connection.peer
    cdef uint32_t events = 0
    if peer == NULL:
        return EPOLLIN  # lingering: what still comes is read and forgotten
    if buffer_length(&peer.out) > 0:
        events = EPOLLOUT
    if not connection.eof and not peer.closing and (peer.hold == HOLD_NOTHING or peer.hold == HOLD_TURN):
        events |= EPOLLIN
    return events


cdef bint connection_watch(int epoll_fd, connection_t* connection) noexcept nogil:
    cdef epoll_event event
    cdef int operation = EPOLL_CTL_MOD if connection.watched else EPOLL_CTL_ADD
    event.events = wanted_events(connection)
    if event.events == connection.interest and (connection.watched or event.events == 0):
        return True
    event.data.ptr = connection
    connection.interest = event.events
    if epoll_ctl(epoll_fd, operation, connection.watch.fd, &event) != 0:
        return False  # and if it was watched before, it still is
    connection.watched = True
    return True


cdef void connection_unwatch(int epoll_fd, connection_t* connection) noexcept nogil:
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, connection.watch.fd, NULL)
    connection.watched = False
    connection.interest = 0


# -- is the other side still there ------------------------------------------------------------------------------------

cdef size_t connection_unacknowledged(const connection_t* connection) noexcept nogil:
    cdef int waiting = 0
    if connection.is_tcp:
        ioctl(connection.watch.fd, SIOCOUTQ, &waiting)
    return <size_t>waiting if waiting > 0 else 0


cdef bint connection_is_lost(const connection_t* connection, uint32_t timeout_ms) noexcept nogil:
    """What TCP_USER_TIMEOUT does, without its flaw: that one also ends connections to peers that are well and do not read.

    Sent bytes are acknowledged at once by a system that is there. One whose window is closed acknowledges nothing but
    probes, of which then more than one has no answer.
    """
    cdef tcp_info info
    cdef socklen_t length = sizeof(info)
    memset(&info, 0, sizeof(info))
    if getsockopt(connection.watch.fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0:
        return False
    return info.tcpi_last_ack_recv >= timeout_ms and (info.tcpi_unacked > 0 or info.tcpi_probes > 1)
