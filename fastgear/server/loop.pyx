# SPDX-License-Identifier: MIT
"""The epoll loop: one thread, no GIL from its start to its end.

A turn, always in this order: wait; read and handle every ready connection; do what is due; send what every connection has
waiting; free what has ended. One recv and one send per ready connection and turn, so that all answers of a turn leave
together. Nothing is freed before the end of a turn, so that no event of it can reach a dead connection.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport errno as c_errno
from libc.string cimport memcpy, memset
from posix.uio cimport iovec

from fastgear.base.alloc cimport fg_calloc, fg_free, fg_malloc
from fastgear.base.buffer cimport (
    buffer_consume, buffer_free, buffer_gather, buffer_init, buffer_length, buffer_t,
)
from fastgear.base.list cimport (
    link_is_linked, link_remove, list_first, list_init, list_is_empty, list_pop_front, list_push_back,
)
from fastgear.base.status cimport FG_OK
from fastgear.core.admin cimport answer_line
from fastgear.core.model cimport peer_t, settings_t
from fastgear.core.state cimport (
    state_disconnect, state_fire_due, state_free, state_init, state_next_due, state_set_time, state_work_left,
)
from fastgear.protocol.encoder cimport encode_error
from fastgear.protocol.text cimport line_read, line_t
from fastgear.server.connection cimport (
    SCRATCH, WATCH_CONNECTION, WATCH_INBOX, WATCH_LISTENER, connection_discard, connection_free,
    connection_from_in_connections, connection_from_in_ending, connection_new, connection_read, connection_t,
    connection_watch, connection_write,
)
from fastgear.server.inbox cimport (
    REQUEST_COMMAND, REQUEST_PAUSE, REQUEST_REFUSED, REQUEST_STOP, inbox_ask, inbox_close, inbox_done, inbox_free,
    inbox_init, inbox_open, inbox_resume, inbox_stand_still, inbox_take, request_t,
)
from fastgear.server.sys cimport (
    CLOCK_MONOTONIC, CLOCK_REALTIME, ECONNABORTED, EINTR, EMFILE, ENFILE, EPOLL_CLOEXEC, EPOLL_CTL_ADD,
    EPOLL_CTL_DEL, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, MSG_DONTWAIT, MSG_NOSIGNAL, O_CLOEXEC, O_RDONLY, SHUT_WR,
    SOCK_CLOEXEC, SOCK_NONBLOCK, accept4, clock_ns, close, epoll_create1, epoll_ctl, epoll_event, epoll_wait, errno,
    malloc_trim, open, send, shutdown,
)

cdef enum:
    MAX_EVENTS = 256            # handled in one turn
    MAX_ACCEPTS = 64            # of one listener in one turn
    LINGER_NS = 2000000000      # how long to wait for the other side's close
    IDLE_MS = 200               # this long without work, and freed memory is given back
    EPOCH_MS = 1000             # longest sleep while epoch jobs wait: the wall clock may be set meanwhile
    GIVE_BACK = 8 << 20         # bytes that must have become free before memory is given back
    NS_PER_MS = 1000000


# -- begin and end ----------------------------------------------------------------------------------------------------

cdef int watch(loop_t* loop, watch_t* watched) noexcept nogil:
    cdef epoll_event event
    event.events = EPOLLIN
    event.data.ptr = watched
    return epoll_ctl(loop.epoll_fd, EPOLL_CTL_ADD, watched.fd, &event)


cdef void close_listeners(loop_t* loop) noexcept nogil:
    cdef listener_t* listener
    while not list_is_empty(&loop.listeners):
        listener = listener_from_in_listeners(list_pop_front(&loop.listeners))
        epoll_ctl(loop.epoll_fd, EPOLL_CTL_DEL, listener.watch.fd, NULL)
        close(listener.watch.fd)
        fg_free(listener)


cdef inline listener_t* listener_from_in_listeners(link_t* link) noexcept nogil:
    return <listener_t*>(<char*>link - <size_t>&(<listener_t*>NULL).in_listeners)


cdef void free_connection(loop_t* loop, connection_t* connection) noexcept nogil:
    if connection.peer != NULL:
        state_disconnect(&loop.state, connection.peer)
    if link_is_linked(&connection.in_ending):
        link_remove(&connection.in_ending)
    link_remove(&connection.in_connections)
    loop.connection_count -= 1
    connection_free(connection)


cdef void close_connections(loop_t* loop) noexcept nogil:
    while not list_is_empty(&loop.connections):
        free_connection(loop, connection_from_in_connections(list_first(&loop.connections)))


# -- a turn -----------------------------------------------------------------------------------------------------------

cdef void run(loop_t* loop) noexcept nogil:
    set_time(loop)
    while not is_over(loop):
        turn(loop)
    send_all(loop)
    close_listeners(loop)
    close_connections(loop)


cdef inline void set_time(loop_t* loop) noexcept nogil:
    state_set_time(&loop.state, clock_ns(CLOCK_MONOTONIC), clock_ns(CLOCK_REALTIME))


cdef bint is_over(loop_t* loop) noexcept nogil:
    if not loop.stopping:
        return False
    return loop.state.now_ns >= loop.stop_at_ns or (
        state_work_left(&loop.state) == 0 and list_is_empty(&loop.state.dirty)
    )


cdef void turn(loop_t* loop) noexcept nogil:
    cdef epoll_event events[MAX_EVENTS]
    cdef int i, count = epoll_wait(loop.epoll_fd, events, MAX_EVENTS, sleep_ms(loop))
    loop.turns += 1
    set_time(loop)
    if count == 0:
        give_memory_back(loop)
    for i in range(count):
        handle_event(loop, <watch_t*>events[i].data.ptr, events[i].events)
    if loop.asked:
        handle_requests(loop)
    state_fire_due(&loop.state)
    send_all(loop)
    end_lingering(loop)
    free_dead(loop)


cdef int sleep_ms(loop_t* loop) noexcept nogil:
    """Until the first thing that is due, rounded up so that it is due then; -1 for ever."""
    cdef int64_t due_ns = state_next_due(&loop.state)
    cdef int64_t limit_ms = -1
    if loop.state.epochs.length > 0:
        limit_ms = EPOCH_MS
    if loop.memory_peak > loop.state.memory + GIVE_BACK or not list_is_empty(&loop.lingering):
        limit_ms = IDLE_MS
    if loop.stopping:
        limit_ms = 10
    if due_ns >= 0 and (limit_ms < 0 or due_ns < limit_ms * NS_PER_MS):
        limit_ms = (due_ns + NS_PER_MS - 1) // NS_PER_MS
    return <int>limit_ms


cdef void give_memory_back(loop_t* loop) noexcept nogil:
    """Nothing happened for a while: let the system have what a burst has left behind."""
    if loop.memory_peak > loop.state.memory + GIVE_BACK:
        malloc_trim(0)
        loop.memory_peak = loop.state.memory


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
        return
    if events & EPOLLOUT:
        note_output(loop, connection)
    if events & (EPOLLIN | EPOLLERR | EPOLLHUP) and not connection.peer.closing:
        if not connection_read(&loop.state, connection, loop.scratch):
            connection.eof = True
            note_output(loop, connection)
    if loop.state.memory > loop.memory_peak:
        loop.memory_peak = loop.state.memory


cdef inline void note_output(loop_t* loop, connection_t* connection) noexcept nogil:
    """Let send_all look at it in this turn."""
    if not link_is_linked(&connection.peer.in_dirty):
        list_push_back(&loop.state.dirty, &connection.peer.in_dirty)


cdef void mark_dead(loop_t* loop, connection_t* connection) noexcept nogil:
    connection.dead = True
    if link_is_linked(&connection.in_ending):
        link_remove(&connection.in_ending)
    list_push_back(&loop.dead, &connection.in_ending)


# -- out --------------------------------------------------------------------------------------------------------------

cdef inline peer_t* peer_from_in_dirty(link_t* link) noexcept nogil:
    return <peer_t*>(<char*>link - <size_t>&(<peer_t*>NULL).in_dirty)


cdef inline peer_t* peer_from_in_doomed(link_t* link) noexcept nogil:
    return <peer_t*>(<char*>link - <size_t>&(<peer_t*>NULL).in_doomed)


cdef void send_all(loop_t* loop) noexcept nogil:
    cdef connection_t* connection
    while not list_is_empty(&loop.state.dirty):
        connection = <connection_t*>peer_from_in_dirty(list_pop_front(&loop.state.dirty)).owner
        send_one(loop, connection)
    while not list_is_empty(&loop.state.doomed):
        connection = <connection_t*>peer_from_in_doomed(list_pop_front(&loop.state.doomed)).owner
        mark_dead(loop, connection)


cdef void send_one(loop_t* loop, connection_t* connection) noexcept nogil:
    if connection.dead:
        return
    if not connection_write(connection) or connection.eof:
        mark_dead(loop, connection)
        return
    if connection.peer.closing and buffer_length(&connection.peer.out) == 0:
        say_goodbye(loop, connection)
    connection_watch(loop.epoll_fd, connection, loop.read_below)


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


cdef void free_dead(loop_t* loop) noexcept nogil:
    """Jobs that come back here wake workers: their NOOPs leave in the same turn."""
    while not list_is_empty(&loop.dead):
        free_connection(loop, connection_from_in_ending(list_first(&loop.dead)))
        if list_is_empty(&loop.dead):
            send_all(loop)


# -- in ---------------------------------------------------------------------------------------------------------------

cdef void accept_some(loop_t* loop, listener_t* listener) noexcept nogil:
    cdef int _i, fd
    for _i in range(MAX_ACCEPTS):
        fd = accept4(listener.watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            take_in(loop, fd)
        elif errno == EMFILE or errno == ENFILE:
            turn_one_away(loop, listener)
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
    buffer_init(&out)
    if encode_error(&out, "TOO_MANY_CONNECTIONS", reason) == FG_OK and buffer_gather(&out, &piece, 1) == 1:
        send(fd, piece.iov_base, piece.iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
    buffer_free(&out)
    close(fd)
    loop.turned_away += 1


cdef void turn_one_away(loop_t* loop, listener_t* listener) noexcept nogil:
    """Out of descriptors: use the spare one to tell whoever is first in the queue, instead of spinning on it."""
    cdef int fd
    if loop.spare_fd >= 0:
        close(loop.spare_fd)
    fd = accept4(listener.watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd >= 0:
        turn_away(loop, fd, "The server is out of file descriptors")
    loop.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC)


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
    else:
        begin_stop(loop, request.limit_ns)
        inbox_done(&loop.inbox, request, FG_OK)


cdef void begin_stop(loop_t* loop, int64_t limit_ns) noexcept nogil:
    """The listeners stay: workers that come back, or come late, have jobs to do."""
    loop.stopping = True
    loop.state.draining = True
    loop.stop_at_ns = loop.state.now_ns + limit_ns


# -- the Python door --------------------------------------------------------------------------------------------------

cdef class Loop:

    def __cinit__(self, config not None, bytes prefix not None, bytes version not None, bytes verbose not None,
                  bytes random not None, unsigned long long first_number):
        cdef settings_t settings
        cdef uint64_t key[2]
        memset(&self.loop, 0, sizeof(loop_t))
        self.loop.epoll_fd = self.loop.spare_fd = self.loop.inbox.wake_fd = -1
        list_init(&self.loop.listeners)
        list_init(&self.loop.connections)
        list_init(&self.loop.lingering)
        list_init(&self.loop.dead)
        self.verbose = verbose  # settings point into it
        read_settings(&settings, config, verbose)
        memcpy(key, PyBytes_AS_STRING(random), sizeof(key))
        state_init(&self.loop.state, &settings, prefix, version, key, first_number)
        self.has_state = True
        self.loop.max_connections = config.max_connections
        self.loop.read_below = config.max_output // 4
        self.open_descriptors()

    cdef int open_descriptors(self) except -1:
        self.loop.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        self.loop.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC)
        self.loop.scratch = <uint8_t*>fg_malloc(SCRATCH)
        if self.loop.epoll_fd < 0 or self.loop.spare_fd < 0 or inbox_init(&self.loop.inbox) != FG_OK:
            raise OSError(c_errno, "the server cannot have the descriptors it needs")
        if self.loop.scratch == NULL:
            raise MemoryError()
        self.loop.inbox_watch.kind = WATCH_INBOX
        self.loop.inbox_watch.fd = self.loop.inbox.wake_fd
        watch(&self.loop, &self.loop.inbox_watch)
        return 0

    def __dealloc__(self):
        if self.has_state:  # else the constructor raised before it
            close_listeners(&self.loop)
            close_connections(&self.loop)
            state_free(&self.loop.state)
        inbox_free(&self.loop.inbox)
        if self.loop.epoll_fd >= 0:
            close(self.loop.epoll_fd)
        if self.loop.spare_fd >= 0:
            close(self.loop.spare_fd)
        fg_free(self.loop.scratch)

    def listen(self, int fd):
        cdef listener_t* listener = <listener_t*>fg_calloc(1, sizeof(listener_t))
        if listener == NULL:
            raise MemoryError()
        listener.watch.kind = WATCH_LISTENER
        listener.watch.fd = fd
        if watch(&self.loop, &listener.watch) != 0:
            fg_free(listener)
            raise OSError(c_errno, f"descriptor {fd} cannot be listened on")
        list_push_back(&self.loop.listeners, &listener.in_listeners)

    def open(self):
        inbox_open(&self.loop.inbox)

    def run(self):
        with nogil:
            run(&self.loop)
            inbox_close(&self.loop.inbox)

    def stop(self, double drain_s):
        cdef request_t request
        memset(&request, 0, sizeof(request))
        request.kind = REQUEST_STOP
        request.limit_ns = <int64_t>(drain_s * 1e9)
        with nogil:
            inbox_ask(&self.loop.inbox, &request)

    def pause(self):
        cdef request_t request
        cdef int status
        memset(&request, 0, sizeof(request))
        request.kind = REQUEST_PAUSE
        with nogil:
            status = inbox_ask(&self.loop.inbox, &request)
        return status == FG_OK

    def resume(self):
        inbox_resume(&self.loop.inbox)

    def forget(self):
        """In a forked child: close the copies of the descriptors. Epoll is left alone, it is the parent's too."""
        self.loop.inbox.closed = True
        self.loop.inbox.paused = False
        close(self.loop.epoll_fd)
        self.loop.epoll_fd = -1
        close_listeners(&self.loop)
        close_connections(&self.loop)

    def command(self, bytes line not None):
        cdef request_t request
        cdef int status
        memset(&request, 0, sizeof(request))
        request.kind = REQUEST_COMMAND
        request.line.bytes = <const uint8_t*>PyBytes_AS_STRING(line)
        request.line.length = len(line)
        buffer_init(&request.reply)
        with nogil:
            status = inbox_ask(&self.loop.inbox, &request)
        try:
            if status == REQUEST_REFUSED:
                return None
            if status != FG_OK:
                raise MemoryError()
            return buffer_bytes(&request.reply)
        finally:
            buffer_free(&request.reply)

    def counters(self):
        """Read without a lock: numbers that only grow, each by itself exact."""
        return {
            "turns_total": self.loop.turns,
            "accepted_total": self.loop.accepted,
            "turned_away_total": self.loop.turned_away,
        }


cdef bytes buffer_bytes(buffer_t* buffer):
    """All of it, taken out."""
    cdef iovec piece
    cdef list parts = []
    while buffer_gather(buffer, &piece, 1) == 1:
        parts.append(PyBytes_FromStringAndSize(<const char*>piece.iov_base, piece.iov_len))
        buffer_consume(buffer, piece.iov_len)
    return b"".join(parts)


cdef int read_settings(settings_t* settings, config, bytes verbose) except -1:
    memset(settings, 0, sizeof(settings_t))
    settings.job_retries = config.job_retries
    settings.timeout_fails = config.timeout_policy == "fail"
    settings.exceptions = config.exceptions
    settings.worker_wakeup = config.worker_wakeup
    settings.rescue_ns = <int64_t>config.rescue_ms * NS_PER_MS
    settings.max_queue = config.max_queue
    settings.max_memory = config.max_memory
    settings.max_packet_size = config.max_packet_size
    settings.max_output = config.max_output
    settings.verbose = PyBytes_AS_STRING(verbose)
    return 0
