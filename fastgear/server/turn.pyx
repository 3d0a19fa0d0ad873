# SPDX-License-Identifier: MIT
"""The turns of the loop, from the first to the last: no GIL, no Python object.

A turn, always in this order: wait; read and handle every ready connection; do what is due; send what every connection has
waiting; free what has ended. One recv and one send per ready connection and turn, so that all answers of a turn leave
together.
"""

from libc.stdint cimport int64_t, uint64_t

from fastgear.base.alloc cimport fg_free
from fastgear.base.blob cimport shelf_clear
from fastgear.base.buffer cimport buffer_length
from fastgear.base.list cimport link_is_linked, link_t, list_first, list_is_empty, list_pop_front, list_push_back
from fastgear.base.status cimport FG_OK
from fastgear.core.admin cimport answer_line
from fastgear.core.assign cimport assign_brought
from fastgear.core.durable cimport durable_hand_over, durable_is_done, durable_uncount, durable_written
from fastgear.core.flow cimport flow_is_spent, flow_resume
from fastgear.core.input cimport input_continue
from fastgear.core.model cimport HOLD_NOTHING, STORE_NONE, STORE_WELL, batch_t, peer_t
from fastgear.core.state cimport state_fire_due, state_next_due, state_set_time, state_settle, state_work_left
from fastgear.protocol.text cimport line_read, line_t
from fastgear.server.connection cimport (
    connection_discard, connection_read, connection_unacknowledged, connection_unwatch,
)
from fastgear.server.ending cimport close_connections, close_locals, end_lingering, end_lost, free_dead, mark_dead
from fastgear.server.handover cimport MAX_COMPLAINT, brought_t, handover_answer_taken, handover_brought, handover_offer
from fastgear.server.inbox cimport (
    REQUEST_ADVANCE, REQUEST_COMMAND, REQUEST_PAUSE, inbox_done, inbox_stand_still, inbox_take, request_t,
)
from fastgear.server.listeners cimport accept_some, close_listeners, listen_again
from fastgear.server.model cimport (
    WATCH_CONNECTION, WATCH_LISTENER, connection_from_in_connections, connection_from_in_talkers, connection_from_in_unproven,
    connection_t, NEVER, listener_t, local_from_in_locals, watch_t,
)
from fastgear.server.sending cimport note_output, send_all
from fastgear.server.sys cimport (
    CLOCK_MONOTONIC, CLOCK_REALTIME, EINTR, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, clock_ns, condition_wait,
    epoll_event, epoll_wait, errno, malloc_trim, nanosleep, pthread_cond_signal, pthread_mutex_lock, pthread_mutex_unlock, timespec,
)

cdef enum:
    MAX_EVENTS = 64             # handled in one turn; so others come into their own soon
    MAX_TALKERS = 4             # asked in a turn in which more than that may be ready
    STARVED_NS = 1000000        # until the next turn after one in which the system had no memory for some call
    FAREWELL_NS = 2000000000    # how long answers under way may take after the drain's end, or none of them get on before it
    STUCK_NS = 300000000        # how long none of them may get on after it
    WRITING_NS = 10000000000    # how long the store may take at the end
    IDLE_MS = 200               # this long without work, and freed memory is given back
    LONGEST_MS = 86400000
    EPOCH_MS = 1000             # longest sleep while epoch jobs wait: the wall clock may be set meanwhile
    WALL_NS = 50000000          # how long what the wall clock said is good for
    ASIDE_NS = 1000000          # how long the loop's thread lets another one go first
    GIVE_BACK = 8 << 20         # bytes that must have become free before memory is given back,
    SPARE = 1 << 20             # or be kept for large packets
    NS_PER_MS = 1000000


cdef void run(loop_t* loop) noexcept nogil:
    pthread_mutex_lock(&loop.lock)
    set_time(loop)
    while not is_over(loop):
        stand_aside(loop)
        turn(loop, -1)
    close_listeners(loop)
    durable_uncount(&loop.state)
    say_farewell(loop)
    close_connections(loop)
    close_locals(loop)
    pthread_mutex_unlock(&loop.lock)


cdef void stand_aside(loop_t* loop) noexcept nogil:
    """While another thread turns the loop or is about to, and for a moment after that, since it likely comes back."""
    cdef int64_t now_ns = clock_ns(CLOCK_MONOTONIC)
    note_length(loop, now_ns)
    if loop.helpers > 0:
        loop.is_aside = True
        loop.helped_ns = now_ns
        call_helper(loop)
    while (loop.helped or now_ns < loop.helped_ns + ASIDE_NS) and not loop.stopping:
        loop.is_aside = True
        condition_wait(&loop.aside, &loop.lock, now_ns + ASIDE_NS)
        now_ns = clock_ns(CLOCK_MONOTONIC)
    loop.is_aside = False


cdef inline void note_length(loop_t* loop, int64_t now_ns) noexcept nogil:
    """Of the turn that has just ended."""
    cdef uint64_t length_us = <uint64_t>(now_ns - loop.began_ns) // 1000
    if loop.began_ns > 0 and length_us > loop.state.counters.longest_turn_us:
        loop.state.counters.longest_turn_us = length_us
    loop.began_ns = 0


cdef void call_helper(loop_t* loop) noexcept nogil:
    cdef link_t* link = loop.locals.next
    while link != &loop.locals:
        if local_from_in_locals(link).would_help:
            pthread_cond_signal(&local_from_in_locals(link).changed)
            return
        link = link.next


cdef void set_time(loop_t* loop) noexcept nogil:
    """The wall clock is read now and then, and goes on with the other one between."""
    cdef int64_t now_ns = clock_ns(CLOCK_MONOTONIC)
    if now_ns >= loop.wall_again_ns:
        loop.wall_ahead_ns = clock_ns(CLOCK_REALTIME) - now_ns
        loop.wall_again_ns = now_ns + WALL_NS
    now_ns += loop.ahead_ns
    state_set_time(&loop.state, now_ns, now_ns + loop.wall_ahead_ns)


cdef bint is_over(loop_t* loop) noexcept nogil:
    if not loop.stopping:
        return False
    return loop.state.now_ns >= loop.stop_at_ns or (
        state_work_left(&loop.state) == 0 and list_is_empty(&loop.state.resumed)
    )


cdef int turn(loop_t* loop, int most_ms) noexcept nogil:
    cdef epoll_event events[MAX_EVENTS]
    cdef int i, count = wait(loop, events, most_ms)
    cdef bint interrupted = count < 0 and errno == EINTR
    loop.turns += 1
    set_time(loop)
    loop.began_ns = loop.state.now_ns - loop.ahead_ns
    if count == 0:
        give_memory_back(loop)
    go_on_with_held(loop)
    if loop.listen_again_ns > 0:
        listen_again(loop)
    for i in range(count):
        handle_event(loop, <watch_t*>events[i].data.ptr, events[i].events)
    if count == MAX_EVENTS:
        hear_talkers(loop)
    if loop.asked:
        handle_requests(loop)
    hear_of_store(loop)
    state_fire_due(&loop.state)
    send_all(loop)
    if not list_is_empty(&loop.lingering):
        end_lingering(loop)
    if not list_is_empty(&loop.unproven):
        end_lost(loop)
    free_all_dead(loop)
    if loop.state.journal.store != STORE_NONE:
        offer_to_store(loop)
    return -1 if interrupted else 0


cdef int wait(loop_t* loop, epoll_event* events, int most_ms) noexcept nogil:
    """Without the lock, so that other threads can speak meanwhile."""
    cdef int count, limit_ms = sleep_ms(loop)
    if loop.starved:
        wait_for_memory(loop)
    if most_ms >= 0 and (limit_ms < 0 or most_ms < limit_ms):
        limit_ms = most_ms
    if limit_ms == 0:
        return epoll_wait(loop.epoll_fd, events, MAX_EVENTS, 0)
    loop.waits_until_ns = NEVER if limit_ms < 0 else loop.state.now_ns + <int64_t>limit_ms * NS_PER_MS
    pthread_mutex_unlock(&loop.lock)
    count = epoll_wait(loop.epoll_fd, events, MAX_EVENTS, limit_ms)
    pthread_mutex_lock(&loop.lock)
    loop.waits_until_ns = 0
    return count


cdef void wait_for_memory(loop_t* loop) noexcept nogil:
    """Or else the calls would be tried again at once, and fail again, for as long as there is none."""
    cdef timespec length
    length.tv_sec, length.tv_nsec = 0, STARVED_NS
    loop.starved = False
    pthread_mutex_unlock(&loop.lock)
    nanosleep(&length, NULL)
    pthread_mutex_lock(&loop.lock)


cdef int sleep_ms(loop_t* loop) noexcept nogil:
    """Until the first thing that is due, rounded up so that it is due then; -1 for ever."""
    cdef int64_t due_ns = state_next_due(&loop.state)
    cdef int64_t limit_ms = -1
    if loop.state.epochs.length > 0:
        limit_ms = EPOCH_MS
    if has_freed_much(loop) or not list_is_empty(&loop.lingering):
        limit_ms = IDLE_MS
    if loop.listen_again_ns > 0:
        limit_ms = IDLE_MS
    if loop.stopping:
        limit_ms = 10
    due_ns = sooner(due_ns, loop)
    if due_ns >= 0 and (limit_ms < 0 or due_ns < limit_ms * NS_PER_MS):
        limit_ms = (due_ns + NS_PER_MS - 1) // NS_PER_MS
    return <int>min(limit_ms, <int64_t>LONGEST_MS)


cdef inline int64_t sooner(int64_t due_ns, loop_t* loop) noexcept nogil:
    """That, or the time to look at the first unproven connection."""
    cdef int64_t wait_ns
    if list_is_empty(&loop.unproven):
        return due_ns
    wait_ns = connection_from_in_unproven(list_first(&loop.unproven)).prove_at_ns - loop.state.now_ns
    if wait_ns < 0:
        wait_ns = 0
    return wait_ns if due_ns < 0 or wait_ns < due_ns else due_ns


cdef void give_memory_back(loop_t* loop) noexcept nogil:
    """Nothing happened for a while: let the system have what a burst has left behind."""
    if has_freed_much(loop):
        shelf_clear(&loop.state.spares)
        malloc_trim(0)
        loop.memory_peak = loop.state.memory + loop.state.output


cdef inline bint has_freed_much(loop_t* loop) noexcept nogil:
    """Blobs on the shelf need not be free, but then it is emptied once, and the next ones find their place there."""
    return loop.memory_peak > loop.state.memory + loop.state.output + GIVE_BACK or loop.state.spares.bytes > SPARE


cdef void hear_of_store(loop_t* loop) noexcept nogil:
    cdef char complaint[MAX_COMPLAINT + 1]
    cdef int outcome
    if loop.state.journal.writing and handover_answer_taken(&loop.handover, &outcome, complaint):
        take_brought(loop)
        durable_written(&loop.state, outcome, complaint)


cdef void take_brought(loop_t* loop) noexcept nogil:
    cdef brought_t* brought = handover_brought(&loop.handover)
    cdef brought_t* next
    while brought != NULL:
        next = brought.next
        assign_brought(&loop.state, brought.number, brought.blob)
        fg_free(brought)
        brought = next


cdef void offer_to_store(loop_t* loop) noexcept nogil:
    """All that has changed since it was offered something last; while it writes, that grows."""
    cdef batch_t* batch = durable_hand_over(&loop.state)
    if batch != NULL:
        handover_offer(&loop.handover, &batch.records)


cdef void free_all_dead(loop_t* loop) noexcept nogil:
    """Their jobs go back and wake workers, whose NOOPs leave in the same turn."""
    while not list_is_empty(&loop.dead):
        free_dead(loop)
        state_settle(&loop.state)
        send_all(loop)


# -- connections ------------------------------------------------------------------------------------------------------

cdef void handle_event(loop_t* loop, watch_t* watched, uint64_t events) noexcept nogil:
    if watched.kind == WATCH_CONNECTION:
        handle_connection(loop, <connection_t*>watched, events)
    elif watched.kind == WATCH_LISTENER:
        accept_some(loop, <listener_t*>watched)
    else:
        loop.asked = True  # only after the events of this turn: a stop frees listeners


cdef void handle_connection(loop_t* loop, connection_t* connection, uint64_t events) noexcept nogil:
    if connection.dead:
        return
    if connection.peer == NULL:
        if not connection_discard(connection, loop.scratch):
            mark_dead(loop, connection)
        if connection.starved:
            loop.starved = True
        return
    if events & EPOLLOUT:
        note_output(loop, connection.peer)
    if events & (EPOLLIN | EPOLLERR | EPOLLHUP):
        read_or_leave(loop, connection, events)
    note_peak(loop)


cdef void read_or_leave(loop_t* loop, connection_t* connection, uint64_t events) noexcept nogil:
    """Where input has to wait, a hang-up shows in the attempt to send; with nothing to send it waits as well."""
    cdef peer_t* peer = connection.peer
    if not peer.closing and peer.hold == HOLD_NOTHING:
        if not connection_read(&loop.state, connection, loop.scratch):
            connection.eof = True
        if connection.starved:
            loop.starved = True
        if connection.talks and not link_is_linked(&connection.in_talkers):
            list_push_back(&loop.talkers, &connection.in_talkers)
        if connection.eof or peer.hold != HOLD_NOTHING:
            note_output(loop, peer)
    elif buffer_length(&peer.out) > 0:
        note_output(loop, peer)
    elif events & (EPOLLERR | EPOLLHUP):
        connection_unwatch(loop.epoll_fd, connection)


cdef void hear_talkers(loop_t* loop) noexcept nogil:
    """Who asks in text looks after the server, and need not wait until thousands of others have had their turn."""
    cdef connection_t* connection
    cdef link_t* last = loop.talkers.prev
    cdef link_t* link = NULL
    cdef int i = 0
    while i < MAX_TALKERS and link != last and not list_is_empty(&loop.talkers):
        i += 1
        link = list_pop_front(&loop.talkers)
        connection = connection_from_in_talkers(link)
        if connection.dead or connection.eof or connection.peer == NULL or not connection.talks:
            continue
        list_push_back(&loop.talkers, &connection.in_talkers)
        if connection.peer.rest == NULL:  # or the time for the other half of a line would begin anew
            handle_connection(loop, connection, EPOLLIN)


cdef void go_on_with_held(loop_t* loop) noexcept nogil:
    """Those that were held, first come first served, until the turn has had its share."""
    cdef peer_t* peer
    while not list_is_empty(&loop.state.resumed) and not flow_is_spent(&loop.state):
        peer = flow_resume(&loop.state)
        input_continue(&loop.state, peer)
        note_output(loop, peer)
    note_peak(loop)


cdef inline void note_peak(loop_t* loop) noexcept nogil:
    cdef uint64_t memory = loop.state.memory + loop.state.output
    if memory > loop.memory_peak:
        loop.memory_peak = memory


# -- requests of other threads ----------------------------------------------------------------------------------------

cdef void handle_requests(loop_t* loop) noexcept nogil:
    cdef request_t* request = inbox_take(&loop.inbox)
    cdef request_t* next
    loop.asked = False
    while request != NULL:
        next = request.next
        handle_request(loop, request)
        request = next


cdef void handle_request(loop_t* loop, request_t* request) noexcept nogil:
    cdef line_t line
    if request.kind == REQUEST_COMMAND:
        line_read(request.line.bytes, request.line.length, &line)
        inbox_done(&loop.inbox, request, answer_line(&loop.state, &request.reply, &line))
    elif request.kind == REQUEST_PAUSE:
        inbox_stand_still(&loop.inbox, request)
        set_time(loop)
    elif request.kind == REQUEST_ADVANCE:
        loop.ahead_ns += request.limit_ns
        set_time(loop)
        state_fire_due(&loop.state)
        inbox_done(&loop.inbox, request, FG_OK)
    else:
        begin_stop(loop, request.limit_ns)
        inbox_done(&loop.inbox, request, FG_OK)


cdef void begin_stop(loop_t* loop, int64_t limit_ns) noexcept nogil:
    """The listeners stay: workers that come back, or come late, have jobs to do. Who asks again can only make it sooner: two
    threads that ask at once may come in any order."""
    cdef int64_t stop_at_ns = loop.state.now_ns + limit_ns
    loop.stop_at_ns = min(loop.stop_at_ns, stop_at_ns) if loop.stopping else stop_at_ns
    loop.stopping = True
    loop.state.draining = True


# -- the end ----------------------------------------------------------------------------------------------------------

cdef void say_farewell(loop_t* loop) noexcept nogil:
    """Nothing is read any more, but answers under way arrive: while they make progress, and for a bounded time."""
    cdef uint64_t left, least
    cdef int64_t least_at_ns
    begin_farewell(loop)
    finish_writing(loop)
    left = least = unfinished_output(loop)
    least_at_ns = loop.state.now_ns
    while left > 0 and loop.state.now_ns < loop.stop_at_ns + FAREWELL_NS and (
        loop.state.now_ns < least_at_ns + (FAREWELL_NS if loop.state.now_ns < loop.stop_at_ns else STUCK_NS)
    ):
        turn(loop, -1)
        left = unfinished_output(loop)
        if left < least:
            least = left
            least_at_ns = loop.state.now_ns


cdef void finish_writing(loop_t* loop) noexcept nogil:
    """What happened to durable jobs still gets to the store, unless that is not well or takes too long."""
    cdef int64_t until_ns = loop.state.now_ns + WRITING_NS
    while (
        loop.state.journal.store == STORE_WELL and not durable_is_done(&loop.state) and loop.state.now_ns < until_ns
    ):
        turn(loop, -1)


cdef void begin_farewell(loop_t* loop) noexcept nogil:
    cdef link_t* link = loop.connections.next
    cdef connection_t* connection
    send_all(loop)
    while link != &loop.connections:
        connection = connection_from_in_connections(link)
        link = link.next
        if connection.peer != NULL and not connection.dead:
            connection.peer.closing = True
            note_output(loop, connection.peer)
    send_all(loop)
    free_all_dead(loop)


cdef uint64_t unfinished_output(loop_t* loop) noexcept nogil:
    """Bytes that the peers' systems do not have yet."""
    cdef uint64_t left = loop.state.output
    cdef link_t* link = loop.connections.next
    while link != &loop.connections:
        left += connection_unacknowledged(connection_from_in_connections(link))
        link = link.next
    return left
