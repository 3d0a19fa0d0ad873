# SPDX-License-Identifier: MIT
"""The whole job server without sockets and clock: bytes in, bytes out, at a time that the test chooses."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.uio cimport iovec

from fastgear.base.buffer cimport buffer_consume, buffer_gather
from fastgear.base.list cimport link_t, list_is_empty, list_pop_front
from fastgear.core.input cimport input_filled, input_receive, input_resume, input_wants
from fastgear.core.model cimport LARGE_PACKET, function_t, peer_t, settings_t, state_t
from fastgear.core.functions cimport function_wants_workers
from fastgear.core.state cimport (
    state_connect, state_disconnect, state_fire_due, state_free, state_init, state_next_due, state_set_time,
)
from fastgear.core.workers cimport ability_from_in_sleep


cdef class Core:
    """`now` and `wall` are seconds; both move with `advance`."""

    cdef state_t state
    cdef dict peers
    cdef double now
    cdef double wall
    cdef bytes verbose
    cdef bint open

    def __cinit__(self, *, int job_retries=-1, bint timeout_fails=False, bint exceptions=False, int worker_wakeup=1,
                  int rescue_ms=50, long long max_queue=0, long long max_memory=0, size_t max_packet_size=1 << 26,
                  size_t max_output=1 << 26, bytes prefix=b"H:test:", long long first_number=1):
        cdef settings_t settings
        cdef uint64_t key[2]
        self.verbose = b"ERROR"
        key[0], key[1] = 1, 2
        memset(&settings, 0, sizeof(settings))
        settings.job_retries = job_retries
        settings.timeout_fails = timeout_fails
        settings.exceptions = exceptions
        settings.worker_wakeup = worker_wakeup
        settings.rescue_ns = <long long>rescue_ms * 1000000
        settings.max_queue = max_queue
        settings.max_memory = max_memory
        settings.max_packet_size = max_packet_size
        settings.max_output = max_output
        settings.verbose = self.verbose
        state_init(&self.state, &settings, prefix, b"test", key, first_number)
        self.open = True
        self.peers = {}
        self.now, self.wall = 1000.0, 1700000000.0
        self.tell_time()

    def close(self):
        """Free all of it; nothing else may be called after it."""
        if self.open:
            state_free(&self.state)
        self.open = False

    def __dealloc__(self):
        if self.open:
            state_free(&self.state)

    cdef tell_time(self):
        state_set_time(&self.state, <long long>(self.now * 1e9), <long long>(self.wall * 1e9))

    cdef peer_t* peer(self, id) except NULL:
        return <peer_t*><size_t>self.peers[id]

    def connect(self):
        cdef peer_t* peer = state_connect(&self.state)
        if peer == NULL:
            raise MemoryError()
        peer.address[0] = b"-"
        self.peers[peer.id] = <size_t>peer
        return peer.id

    def disconnect(self, id):
        state_disconnect(&self.state, self.peer(id))
        del self.peers[id]

    def receive(self, id, bytes data):
        """Hand over bytes as the loop does: what a large packet wants first, the rest behind what was kept."""
        cdef peer_t* peer = self.peer(id)
        cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(data)
        cdef size_t left = len(data), wanted, kept
        cdef uint8_t* to
        cdef uint8_t* room
        while left > 0 and not peer.closing:
            wanted = input_wants(&self.state, peer, &to)
            if wanted > 0:
                wanted = min(wanted, left)
                memcpy(to, at, wanted)
                input_filled(&self.state, peer, wanted)
                at += wanted
                left -= wanted
                continue
            room = <uint8_t*>malloc(LARGE_PACKET + left)
            kept = input_resume(peer, room)
            memcpy(room + kept, at, left)
            input_receive(&self.state, peer, room, kept + left)
            free(room)
            left = 0

    def sent(self, id):
        """Take out all that waits to be sent."""
        cdef peer_t* peer = self.peer(id)
        cdef iovec piece
        parts = []
        while buffer_gather(&peer.out, &piece, 1) == 1:
            parts.append((<const char*>piece.iov_base)[:piece.iov_len])
            buffer_consume(&peer.out, piece.iov_len)
        while not list_is_empty(&self.state.dirty):
            list_pop_front(&self.state.dirty)
        return b"".join(parts)

    def is_closing(self, id):
        return bool(self.peer(id).closing)

    def doomed(self):
        """Whether a peer is to be disconnected at the end of this turn."""
        return not list_is_empty(&self.state.doomed)

    def advance(self, double seconds=0.0):
        self.now += seconds
        self.wall += seconds
        self.tell_time()
        state_fire_due(&self.state)

    def next_due(self):
        """Seconds until something is due, or None."""
        due = state_next_due(&self.state)
        return None if due < 0 else due / 1e9

    @property
    def time(self):
        return self.wall

    @property
    def memory(self):
        return self.state.memory

    @property
    def counters(self):
        return self.state.counters

    def check(self):
        """Assert what must hold after every request; the names of functions that break it are in the message."""
        cdef function_t* function
        cdef link_t* link
        cdef size_t id
        for id in range(self.state.by_id_length):
            function = self.state.by_id[id]
            if function == NULL or not function_wants_workers(&self.state, function):
                continue
            link = function.sleepers.next
            while link != &function.sleepers:
                name = function.name[:function.name_length]
                assert not ability_from_in_sleep(link).peer.sleeping, f"{name!r} has jobs, an able sleeper, and no NOOP"
                link = link.next
