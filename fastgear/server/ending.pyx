# SPDX-License-Identifier: MIT
"""How connections end: by their own word, by ours, or because their machine has vanished."""

from libc.stdint cimport uint32_t

from fastgear.base.list cimport link_remove, link_t, link_unlink, list_first, list_is_empty, list_push_back
from fastgear.core.flow cimport flow_review, is_answered
from fastgear.core.state cimport state_disconnect, state_retire
from fastgear.server.connection cimport connection_free, connection_is_lost, connection_unacknowledged
from fastgear.server.model cimport (
    connection_from_in_connections, connection_from_in_ending, connection_from_in_unproven, local_from_in_locals,
)
from fastgear.server.sys cimport SHUT_WR, pthread_cond_broadcast, shutdown

cdef enum:
    LINGER_NS = 2000000000      # how long to wait for the other side's close
    NS_PER_MS = 1000000


cdef void mark_dead(loop_t* loop, connection_t* connection) noexcept nogil:
    connection.dead = True
    link_unlink(&connection.in_ending)
    list_push_back(&loop.dead, &connection.in_ending)


cdef void free_connection(loop_t* loop, connection_t* connection) noexcept nogil:
    if connection.peer != NULL:
        state_disconnect(&loop.state, connection.peer)
    link_unlink(&connection.in_ending)
    link_unlink(&connection.in_unproven)
    link_unlink(&connection.in_talkers)
    link_remove(&connection.in_connections)
    loop.connection_count -= 1
    connection_free(loop.epoll_fd, connection)


cdef void free_dead(loop_t* loop) noexcept nogil:
    while not list_is_empty(&loop.dead):
        free_connection(loop, connection_from_in_ending(list_first(&loop.dead)))


cdef void close_connections(loop_t* loop) noexcept nogil:
    while not list_is_empty(&loop.connections):
        free_connection(loop, connection_from_in_connections(list_first(&loop.connections)))


cdef void close_local(loop_t* loop, local_t* local) noexcept nogil:
    state_disconnect(&loop.state, local.peer)
    local.peer = NULL
    pthread_cond_broadcast(&local.changed)


cdef void close_locals(loop_t* loop) noexcept nogil:
    cdef link_t* link = loop.locals.next
    while link != &loop.locals:
        if local_from_in_locals(link).peer != NULL:
            close_local(loop, local_from_in_locals(link))
        link = link.next


cdef void end_heard(loop_t* loop, connection_t* connection) noexcept nogil:
    """It will say nothing more. Its jobs and waits are over at once; what it has asked for before, it may still read."""
    if is_answered(connection.peer):
        mark_dead(loop, connection)
    elif not connection.peer.closing:
        state_retire(&loop.state, connection.peer)
        flow_review(&loop.state, connection.peer)  # from here on it has to read


cdef void say_goodbye(loop_t* loop, connection_t* connection) noexcept nogil:
    """Close our side only, and wait for the other's: a close with unread input would destroy the last answer."""
    state_disconnect(&loop.state, connection.peer)
    connection.peer = NULL
    shutdown(connection.watch.fd, SHUT_WR)
    connection.linger_until_ns = loop.state.now_ns + LINGER_NS
    list_push_back(&loop.lingering, &connection.in_ending)


cdef void end_lingering(loop_t* loop) noexcept nogil:
    cdef connection_t* connection
    while not list_is_empty(&loop.lingering):
        connection = connection_from_in_ending(list_first(&loop.lingering))
        if connection.linger_until_ns > loop.state.now_ns:
            return
        mark_dead(loop, connection)


cdef void prove_later(loop_t* loop, connection_t* connection) noexcept nogil:
    connection.prove_at_ns = loop.state.now_ns + loop.prove_every_ns
    list_push_back(&loop.unproven, &connection.in_unproven)


cdef void end_lost(loop_t* loop) noexcept nogil:
    """Machines that vanished: looked at now and then after something was sent there, until all of it is acknowledged."""
    cdef connection_t* connection
    while not list_is_empty(&loop.unproven):
        connection = connection_from_in_unproven(list_first(&loop.unproven))
        if connection.prove_at_ns > loop.state.now_ns:
            return
        link_remove(&connection.in_unproven)
        if connection_unacknowledged(connection) == 0 or connection.dead:
            continue
        if connection_is_lost(connection, <uint32_t>(loop.user_timeout_ns // NS_PER_MS)):
            mark_dead(loop, connection)
        else:
            prove_later(loop, connection)
