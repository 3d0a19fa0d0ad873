# SPDX-License-Identifier: MIT
"""What waits for connections goes out: one send each and turn."""

from fastgear.base.list cimport link_is_linked, link_t, list_is_empty, list_pop_front, list_push_back
from fastgear.core.flow cimport is_answered
from fastgear.core.model cimport peer_t
from fastgear.core.state cimport peer_deafen
from fastgear.server.connection cimport connection_watch, connection_write
from fastgear.server.ending cimport close_local, end_heard, mark_dead, prove_later, say_goodbye
from fastgear.server.model cimport WATCH_LOCAL, connection_t, local_t, watch_t
from fastgear.server.sys cimport SHUT_WR, pthread_cond_signal, shutdown


cdef inline peer_t* peer_from_in_dirty(link_t* link) noexcept nogil:
    return <peer_t*>(<char*>link - <size_t>&(<peer_t*>NULL).in_dirty)


cdef inline peer_t* peer_from_in_doomed(link_t* link) noexcept nogil:
    return <peer_t*>(<char*>link - <size_t>&(<peer_t*>NULL).in_doomed)


cdef void note_output(loop_t* loop, peer_t* peer) noexcept nogil:
    if not link_is_linked(&peer.in_dirty):
        list_push_back(&loop.state.dirty, &peer.in_dirty)


cdef inline bint is_local(const peer_t* peer) noexcept nogil:
    return (<watch_t*>peer.owner).kind == WATCH_LOCAL


cdef void send_all(loop_t* loop) noexcept nogil:
    cdef peer_t* peer
    while not list_is_empty(&loop.state.dirty):
        peer = peer_from_in_dirty(list_pop_front(&loop.state.dirty))
        if is_local(peer):
            wake_local(<local_t*>peer.owner)
        else:
            send_one(loop, <connection_t*>peer.owner)
    while not list_is_empty(&loop.state.doomed):
        peer = peer_from_in_doomed(list_pop_front(&loop.state.doomed))
        if is_local(peer):
            close_local(loop, <local_t*>peer.owner)
        else:
            mark_dead(loop, <connection_t*>peer.owner)


cdef inline void wake_local(local_t* local) noexcept nogil:
    if not local.helped:
        pthread_cond_signal(&local.changed)


cdef void send_one(loop_t* loop, connection_t* connection) noexcept nogil:
    if connection.dead:
        return
    if not connection_write(&loop.state, connection):
        shutdown(connection.watch.fd, SHUT_WR)  # if it still waits for an answer, it sees that none comes
        peer_deafen(&loop.state, connection.peer)  # what it has said before is still to be read
    if connection.starved:
        loop.starved = True
    if loop.prove_every_ns > 0 and connection.is_tcp and not link_is_linked(&connection.in_unproven):
        prove_later(loop, connection)
    if connection.eof:
        end_heard(loop, connection)
    elif connection.peer.closing and is_answered(connection.peer):
        say_goodbye(loop, connection)
    if not connection_watch(loop.epoll_fd, connection):
        mark_dead(loop, connection)
