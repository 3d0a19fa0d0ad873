# SPDX-License-Identifier: MIT
"""A connection to the server in this process, without a socket.

What is sent is handled on the spot by the thread that sends it, under the loop's lock, and what that makes the server say to
others leaves at once. Whoever waits for output may help meanwhile, which is to turn the loop itself: an answer then takes one
change of threads less each way. The loop's own thread stands aside for as long.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy
from posix.uio cimport iovec

from fastgear.base.buffer cimport buffer_gather, buffer_length
from fastgear.base.list cimport link_is_linked, link_remove, list_is_empty, list_push_back
from fastgear.core.flow cimport flow_sent
from fastgear.core.input cimport input_more
from fastgear.core.state cimport state_connect, state_next_due, state_settle
from fastgear.server.ending cimport close_local
from fastgear.server.inbox cimport inbox_wake
from fastgear.server.loop cimport Loop
from fastgear.server.model cimport NEVER, WATCH_LOCAL, local_t, loop_t
from fastgear.server.sending cimport send_all
from fastgear.server.sys cimport (
    CLOCK_MONOTONIC, clock_ns, condition_init, condition_wait, pthread_cond_broadcast, pthread_cond_destroy,
    pthread_cond_wait, pthread_mutex_lock, pthread_mutex_trylock, pthread_mutex_unlock,
)
from fastgear.server.turn cimport free_all_dead, offer_to_store, set_time, turn

cdef enum:                      # how a wait ends
    LOCAL_READY = 0
    LOCAL_TIMED_OUT = 1
    LOCAL_INTERRUPTED = 2
    LOCAL_CLOSED = 3

cdef enum:
    NS_PER_MS = 1000000
    CALL_NS = 5000000           # after this long without output the loop's thread is called, to stand aside
    SIGNALS_NS = 50000000       # how long a wait for that may keep Python from its signals


cdef bint speak_and_unlock(loop_t* loop, local_t* local, const uint8_t* bytes, size_t length) noexcept nogil:
    cdef bint there = local.peer != NULL
    if there:
        speak(loop, local, bytes, length)
    pthread_mutex_unlock(&loop.lock)
    return there


cdef void speak(loop_t* loop, local_t* local, const uint8_t* bytes, size_t length) noexcept nogil:
    """Let the core take it, and let out what follows from that; but the answers to the speaker wake nobody."""
    cdef uint64_t refused = loop.state.counters.refused
    cdef int64_t due_ns
    set_time(loop)
    input_more(&loop.state, local.peer, bytes, length)
    if link_is_linked(&local.peer.in_dirty) and loop.state.counters.refused == refused:
        link_remove(&local.peer.in_dirty)
    state_settle(&loop.state)
    send_all(loop)
    free_all_dead(loop)
    offer_to_store(loop)
    due_ns = state_next_due(&loop.state)
    if due_ns >= 0 and loop.state.now_ns + due_ns < loop.waits_until_ns:
        inbox_wake(&loop.inbox)


cdef int wait_for_output(loop_t* loop, local_t* local, int64_t until_ns, bint help) noexcept nogil:
    cdef bint interrupted = False
    while True:
        if local.peer == NULL:
            return LOCAL_CLOSED
        if buffer_length(&local.peer.out) > 0:
            return LOCAL_READY
        if interrupted or local.interrupted:
            local.interrupted = False
            return LOCAL_INTERRUPTED
        if until_ns != NEVER and clock_ns(CLOCK_MONOTONIC) >= until_ns:
            return LOCAL_TIMED_OUT
        if help and loop.is_aside and not loop.helped and not loop.stopping:
            interrupted = help_once(loop, local, until_ns)
        else:
            wait_to_be_told(loop, local, until_ns, help)
            interrupted = help and loop.helped  # another one helps: let Python see its signals now and then


cdef void wait_to_be_told(loop_t* loop, local_t* local, int64_t until_ns, bint help) noexcept nogil:
    """Where this thread would help, the loop's thread stands aside as soon as it comes by; after a while it is called."""
    cdef int64_t call_ns
    if not help:
        if until_ns == NEVER:
            pthread_cond_wait(&local.changed, &loop.lock)
        else:
            condition_wait(&local.changed, &loop.lock, until_ns)
        return
    local.would_help = True
    loop.helpers += 1
    call_ns = clock_ns(CLOCK_MONOTONIC) + CALL_NS
    condition_wait(&local.changed, &loop.lock, min(until_ns, call_ns))
    if clock_ns(CLOCK_MONOTONIC) >= call_ns and loop.waits_until_ns != 0 and not loop.helped:
        inbox_wake(&loop.inbox)
        condition_wait(&local.changed, &loop.lock, min(until_ns, call_ns + SIGNALS_NS))
    loop.helpers -= 1
    local.would_help = False


cdef bint help_once(loop_t* loop, local_t* local, int64_t until_ns) noexcept nogil:
    """One turn in place of the loop's thread. True: a signal came."""
    cdef int64_t wait_ms = -1
    cdef bint interrupted
    if until_ns != NEVER:
        wait_ms = (until_ns - clock_ns(CLOCK_MONOTONIC) + NS_PER_MS - 1) // NS_PER_MS
        wait_ms = max(0, min(wait_ms, 1000000))
    loop.helped = local.helped = True
    interrupted = turn(loop, <int>wait_ms) != 0
    loop.helped = local.helped = False
    loop.helped_ns = clock_ns(CLOCK_MONOTONIC)
    return interrupted


cdef class Local:
    """A connection of this process to its own server: bytes in, bytes out, from any thread.

    Made by `Server.connect`. What comes out has to be taken by one thread at a time, since it is one stream.
    """

    cdef Loop owner
    cdef local_t local
    cdef bint has_come            # among the loop's; written once
    cdef readonly uint64_t taken    # how often `receive` has returned something, even where a signal kept that from its caller

    def __cinit__(self, Loop owner not None):
        self.owner = owner
        self.local.watch.kind = WATCH_LOCAL
        self.local.watch.fd = -1
        condition_init(&self.local.changed)
        with nogil:
            pthread_mutex_lock(&owner.loop.lock)
            self.local.peer = state_connect(&owner.loop.state)
            if self.local.peer != NULL:
                self.local.peer.owner = &self.local
                list_push_back(&owner.loop.locals, &self.local.in_locals)
            pthread_mutex_unlock(&owner.loop.lock)
        if self.local.peer == NULL:
            raise MemoryError()
        memcpy(self.local.peer.address, b"local", 6)
        self.has_come = True

    def __dealloc__(self):
        self.finish()
        pthread_cond_destroy(&self.local.changed)

    cdef void finish(self) noexcept:
        if not self.has_come:
            return
        with nogil:
            pthread_mutex_lock(&self.owner.loop.lock)
            if link_is_linked(&self.local.in_locals):  # two threads may be here
                self.leave()
            pthread_mutex_unlock(&self.owner.loop.lock)

    cdef void leave(self) noexcept nogil:
        link_remove(&self.local.in_locals)
        if self.local.peer != NULL:
            close_local(&self.owner.loop, &self.local)
            state_settle(&self.owner.loop.state)
            send_all(&self.owner.loop)
            free_all_dead(&self.owner.loop)

    def close(self):
        """Leave the server: jobs that wait for nobody else are dropped."""
        self.finish()

    def send(self, const uint8_t[::1] data not None):
        """Hand it over; it has been handled when this returns. Raises ConnectionResetError when the server has ended."""
        cdef loop_t* loop = &self.owner.loop
        cdef const uint8_t* bytes
        cdef size_t length = data.shape[0]
        cdef bint there
        if length == 0:
            return
        bytes = &data[0]
        if pthread_mutex_trylock(&loop.lock) == 0:
            there = speak_and_unlock(loop, &self.local, bytes, length)
        else:  # nobody waits for the GIL while he holds the lock
            with nogil:
                pthread_mutex_lock(&loop.lock)
                there = speak_and_unlock(loop, &self.local, bytes, length)
        if not there:
            raise ConnectionResetError("the server has ended")

    def receive(self, timeout=None, bint help=False):
        """Wait for output and take it: b"" when `timeout` seconds pass, at `interrupt`, or when a signal came.

        With `help` this thread turns the loop while it waits. Raises ConnectionResetError when the server has ended.
        """
        cdef loop_t* loop = &self.owner.loop
        cdef int64_t until_ns = NEVER if timeout is None else clock_ns(CLOCK_MONOTONIC) + <int64_t>(timeout * 1e9)
        cdef int how
        cdef bytes output = b""
        with nogil:
            pthread_mutex_lock(&loop.lock)
            how = wait_for_output(loop, &self.local, until_ns, help)
            pthread_mutex_unlock(&loop.lock)
        PyErr_CheckSignals()
        if how == LOCAL_CLOSED:
            raise ConnectionResetError("the server has ended")
        if how == LOCAL_READY:
            output = self.take()
            self.taken += 1
        return output

    cdef bytes take(self):
        """All that waits, in one piece."""
        cdef loop_t* loop = &self.owner.loop
        cdef iovec piece
        cdef bytes output
        cdef char* to
        while pthread_mutex_trylock(&loop.lock) != 0:
            with nogil:  # a fork stands still for it with the lock held, and needs the GIL to go on
                pthread_mutex_lock(&loop.lock)
                pthread_mutex_unlock(&loop.lock)
        try:
            if self.local.peer == NULL:
                return b""
            output = PyBytes_FromStringAndSize(NULL, buffer_length(&self.local.peer.out))
            to = PyBytes_AS_STRING(output)
            while buffer_gather(&self.local.peer.out, &piece, 1) == 1:
                memcpy(to, piece.iov_base, piece.iov_len)
                to += piece.iov_len
                flow_sent(&loop.state, self.local.peer, piece.iov_len)
            if not list_is_empty(&loop.state.resumed):
                inbox_wake(&loop.inbox)
            return output
        finally:
            pthread_mutex_unlock(&loop.lock)

    def interrupt(self):
        """Let the `receive` that waits return, or else the next one."""
        with nogil:
            pthread_mutex_lock(&self.owner.loop.lock)
            self.local.interrupted = True
            if self.local.helped:
                inbox_wake(&self.owner.loop.inbox)
            pthread_cond_broadcast(&self.local.changed)
            pthread_mutex_unlock(&self.owner.loop.lock)
