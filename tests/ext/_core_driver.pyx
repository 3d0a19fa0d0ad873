# SPDX-License-Identifier: MIT
"""The whole job server without sockets and clock: bytes in, bytes out, at a time that the test chooses."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.uio cimport iovec

from _check_driver cimport state_complaint

from fastgear.base.blob cimport blob_copy, blob_t
from fastgear.base.buffer cimport buffer_gather, buffer_length
from fastgear.base.list cimport link_is_linked, link_t, list_is_empty, list_pop_front
from fastgear.core.assign cimport assign_brought
from fastgear.core.durable cimport durable_hand_over, durable_is_done, durable_uncount, durable_written
from fastgear.core.flow cimport flow_resume, flow_review, flow_sent
from fastgear.core.input cimport input_continue, input_filled, input_receive, input_resume, input_wants
from fastgear.core.journal cimport (
    RECORD_ATTEMPT, RECORD_DEAD, RECORD_SUBMITTED, RECORD_WANTED, reader_t, record_t, records_begin, records_next,
)
from fastgear.core.model cimport HOLD_NOTHING, batch_t, function_t, peer_t, settings_t, state_t
from fastgear.core.functions cimport function_wants_workers
from fastgear.core.state cimport (
    state_connect, state_disconnect, state_fire_due, state_free, state_init, state_next_due, state_set_time,
    peer_deafen, state_retire, state_settle,
)
from fastgear.core.workers cimport ability_from_in_sleep

from fastgear.protocol.packet cimport slice_t


cdef class Core:
    """`now` and `wall` are seconds; both move with `advance`."""

    cdef state_t state
    cdef dict peers
    cdef dict waiting                # by id: bytes that were received and not handed over yet
    cdef double now
    cdef double wall
    cdef bytes verbose
    cdef bint open

    def __cinit__(self, *, int job_retries=-1, bint timeout_fails=False, bint exceptions=False, int worker_wakeup=1,
                  int rescue_ms=50, long long max_queue=0, long long max_memory=0, size_t max_packet_size=1 << 26,
                  size_t max_output=1 << 26, double output_timeout=10.0, double input_timeout=60.0,
                  bytes prefix=b"H:test:", long long first_number=1, bint durable=False, int dead_after=5,
                  size_t max_journal=1 << 26, long long store_memory=0):
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
        settings.pause_output = max_output // 4
        settings.output_timeout_ns = <long long>(output_timeout * 1e9)
        settings.input_timeout_ns = <long long>(input_timeout * 1e9)
        settings.durable = durable
        settings.dead_after = dead_after
        settings.max_journal = max_journal
        settings.store_memory = store_memory
        settings.verbose = self.verbose
        state_init(&self.state, &settings, prefix, b"test", key, first_number)
        self.open = True
        self.peers = {}
        self.waiting = {}
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
        self.waiting[peer.id] = b""
        return peer.id

    def disconnect(self, id):
        state_disconnect(&self.state, self.peer(id))
        state_settle(&self.state)
        del self.peers[id], self.waiting[id]

    def retire(self, id):
        """It says nothing more, and may still read."""
        state_retire(&self.state, self.peer(id))
        flow_review(&self.state, self.peer(id))
        state_settle(&self.state)

    def deafen(self, id):
        peer_deafen(&self.state, self.peer(id))

    def receive(self, id, bytes data):
        """Hand over bytes as the loop does, in a turn of their own; those that have to wait go in once they may."""
        self.tell_time()
        self.receive_in_this_turn(id, data)

    def receive_in_this_turn(self, id, bytes data):
        self.waiting[id] += data
        self.feed(id)
        state_settle(&self.state)

    cdef feed(self, id):
        cdef peer_t* peer = self.peer(id)
        while self.waiting[id] and not peer.closing and peer.hold == HOLD_NOTHING:
            self.waiting[id] = self.waiting[id][self.feed_some(peer, self.waiting[id]):]

    cdef size_t feed_some(self, peer_t* peer, bytes data) except 0:
        """What a large packet wants first, else all that there is, behind what was kept; and return how much it was."""
        cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(data)
        cdef size_t length = len(data), wanted, kept
        cdef uint8_t* to
        wanted = input_wants(&self.state, peer, &to)
        if wanted > 0:
            wanted = min(wanted, length)
            memcpy(to, at, wanted)
            input_filled(&self.state, peer, wanted)
            return wanted
        kept = peer.rest_length
        to = <uint8_t*>malloc(kept + length)
        input_resume(peer, to)
        memcpy(to + kept, at, length)
        input_receive(&self.state, peer, to, kept + length)
        free(to)
        return length

    def turn(self):
        """A new turn: go on with those who had to wait, once each, and say whether there were any."""
        cdef size_t count = 0
        cdef link_t* link = self.state.resumed.next
        cdef peer_t* peer
        while link != &self.state.resumed:
            count += 1
            link = link.next
        self.tell_time()
        for _ in range(count):
            if list_is_empty(&self.state.resumed):
                break
            peer = flow_resume(&self.state)
            input_continue(&self.state, peer)
            self.feed(peer.id)
        state_settle(&self.state)
        return count > 0

    def take(self, id, size_t most):
        """Let so much of its output leave, at the most."""
        cdef peer_t* peer = self.peer(id)
        cdef iovec piece
        cdef size_t length
        parts = []
        while most > 0 and buffer_gather(&peer.out, &piece, 1) == 1:
            length = min(most, piece.iov_len)
            parts.append((<const char*>piece.iov_base)[:length])
            flow_sent(&self.state, peer, length)
            most -= length
        while not list_is_empty(&self.state.dirty):
            list_pop_front(&self.state.dirty)
        return b"".join(parts)

    def sent(self, id):
        """Take out all that waits to be sent, and what comes of what waited for that."""
        parts = [self.take(id, <size_t>-1)]
        while self.turn():
            parts.append(self.take(id, <size_t>-1))
        return b"".join(parts)

    def output(self, id):
        """Bytes that wait to be sent."""
        return buffer_length(&self.peer(id).out)

    def is_held(self, id):
        return self.peer(id).hold != HOLD_NOTHING

    def is_doomed(self, id):
        return link_is_linked(&self.peer(id).in_doomed)

    def is_closing(self, id):
        return bool(self.peer(id).closing)

    def advance(self, double seconds=0.0):
        self.now += seconds
        self.wall += seconds
        self.tell_time()
        state_fire_due(&self.state)

    def next_due(self):
        """Seconds until something is due, or None."""
        due = state_next_due(&self.state)
        return None if due < 0 else due / 1e9

    # -- the store

    def hand_over(self):
        """The records that are to be written now, each a tuple that begins with what happened; None: there are none."""
        cdef batch_t* batch = durable_hand_over(&self.state)
        cdef reader_t reader
        cdef record_t record
        cdef slice_t parts[4]
        found = []
        if batch == NULL:
            return None
        records_begin(&batch.records, &reader)
        while records_next(&reader, &record, parts):
            if record.kind == RECORD_SUBMITTED:
                found.append(("submitted", record.number, *[parts[i].bytes[:parts[i].length] for i in range(4)],
                              record.priority, record.due_wall_ns / 1e9, record.attempts))
            elif record.kind == RECORD_ATTEMPT:
                found.append(("attempt", record.number, record.attempts))
            else:
                found.append(({RECORD_DEAD: "dead", RECORD_WANTED: "wanted"}.get(record.kind, "ended"), record.number))
        return found

    def written(self, int outcome=0, bytes complaint=b""):
        durable_written(&self.state, outcome, complaint)
        state_settle(&self.state)

    def bring(self, unsigned long long number, workload):
        """A workload that was wanted, or None."""
        cdef bytes data = workload or b""
        cdef blob_t* blob = NULL
        if workload is not None:
            blob = blob_copy(<const char*>data, len(data))
        assign_brought(&self.state, number, blob)
        state_settle(&self.state)

    @property
    def kept(self):
        return self.state.journal.kept

    def uncount(self):
        durable_uncount(&self.state)

    @property
    def all_is_written(self):
        return durable_is_done(&self.state)

    @property
    def store(self):
        return self.state.journal.store

    @property
    def time(self):
        return self.wall

    @property
    def memory(self):
        return self.state.memory

    @property
    def effort(self):
        return self.state.effort

    @property
    def waiting_output(self):
        return self.state.output

    @property
    def counters(self):
        return self.state.counters

    def check(self):
        """Assert what must hold after every request; the names of functions that break it are in the message."""
        cdef const char* complaint
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
        complaint = state_complaint(&self.state, True)
        assert complaint == NULL, (<bytes>complaint).decode()
