# SPDX-License-Identifier: MIT
"""The whole core without sockets and clock, in turns as the server's loop makes them: bytes in, bytes out."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcpy, memset
from posix.uio cimport iovec

from fastgear.base.alloc cimport fg_calloc, fg_free
from fastgear.base.buffer cimport buffer_gather, buffer_length
from fastgear.base.hash cimport hash_u64
from fastgear.base.list cimport list_is_empty, list_pop_front
from fastgear.core.durable cimport WRITTEN, durable_hand_over, durable_written
from fastgear.core.flow cimport flow_sent
from fastgear.core.input cimport input_receive
from fastgear.core.journal cimport reader_t, record_t, records_begin, records_next
from fastgear.core.model cimport batch_t, job_t, peer_t, settings_t, state_t
from fastgear.core.queues cimport queue_back, queue_take, unplace
from fastgear.core.state cimport state_connect, state_fire_due, state_free, state_init, state_set_time
from fastgear.protocol.encoder cimport encode_header
from fastgear.protocol.packet cimport HEADER_SIZE, PacketType, slice_t
from loops.loop cimport Loop

cdef enum:
    PIECES = 64
    ROOM = 1 << 17              # more than a batch of requests, or the answers to one, takes
    TURN_NS = 10000
    FIRST_NUMBER = 1000000000   # so that all handles are of the same length
    DIGITS = 16                 # of a unique
    RESULT = 16


cdef class Core(Loop):
    """A server with a client and a worker."""

    cdef state_t state
    cdef peer_t* client
    cdef peer_t* worker
    cdef uint64_t now_ns
    cdef uint8_t* room          # what was heard last
    cdef uint8_t* reports       # what the worker says next
    cdef list texts             # keeps what `text` has given out

    def __cinit__(self, *args, bint durable=False, **names):
        cdef settings_t settings
        cdef uint64_t[2] key = [1, 2]
        memset(&settings, 0, sizeof(settings))
        settings.job_retries = -1
        settings.worker_wakeup = 1
        settings.rescue_ns = 50000000
        settings.max_packet_size = settings.max_output = 64 << 20
        settings.pause_output = 16 << 20
        settings.output_timeout_ns = settings.input_timeout_ns = 60000000000
        settings.dead_after = 5
        settings.max_journal = 16 << 20
        settings.durable = durable
        settings.verbose = b"ERROR"
        state_init(&self.state, &settings, b"H:guard:", b"guards", key, FIRST_NUMBER)
        self.texts = []
        self.now_ns = 1000000000
        self.room = <uint8_t*>fg_calloc(ROOM, 1)
        self.reports = <uint8_t*>fg_calloc(ROOM, 1)
        self.client = state_connect(&self.state)
        self.worker = state_connect(&self.state)
        if self.room == NULL or self.reports == NULL or self.client == NULL or self.worker == NULL:
            raise MemoryError()

    def __dealloc__(self):
        state_free(&self.state)
        fg_free(self.room)
        fg_free(self.reports)

    cdef const uint8_t* text(self, bytes text):
        self.texts.append(text)
        return <const uint8_t*>PyBytes_AS_STRING(text)

    cdef void say(self, peer_t* peer, const uint8_t* bytes, size_t length) noexcept nogil:
        """A turn."""
        self.now_ns += TURN_NS
        state_set_time(&self.state, self.now_ns, self.now_ns)
        input_receive(&self.state, peer, bytes, length)
        state_fire_due(&self.state)
        while not list_is_empty(&self.state.dirty):
            list_pop_front(&self.state.dirty)

    cdef size_t hear(self, peer_t* peer) noexcept nogil:
        """All that waits for it, in `room`; how much that was."""
        cdef iovec pieces[PIECES]
        cdef size_t length, heard = 0
        cdef int i, count
        while buffer_length(&peer.out) > 0:
            count = buffer_gather(&peer.out, pieces, PIECES)
            length = 0
            for i in range(count):
                memcpy(self.room + heard + length, pieces[i].iov_base, pieces[i].iov_len)
                length += pieces[i].iov_len
            flow_sent(&self.state, peer, length)
            heard += length
        return heard

    cdef size_t report(self, size_t heard) noexcept nogil:
        """A WORK_COMPLETE for each job in `room`, in `reports`; how many bytes that is."""
        cdef const uint8_t* at = self.room
        cdef const uint8_t* end = at + heard
        cdef uint8_t* to = self.reports
        cdef size_t length, handle
        while at < end:
            length = <size_t>at[8] << 24 | <size_t>at[9] << 16 | <size_t>at[10] << 8 | at[11]
            if at[7] == PacketType.JOB_ASSIGN or at[7] == PacketType.JOB_ASSIGN_UNIQ:
                handle = <const uint8_t*>memchr(at + HEADER_SIZE, 0, length) - at - HEADER_SIZE + 1
                encode_header(to, True, PacketType.WORK_COMPLETE, handle + RESULT)
                memcpy(to + HEADER_SIZE, at + HEADER_SIZE, handle)
                memcpy(to + HEADER_SIZE + handle, b"0123456789abcdef", RESULT)
                to += HEADER_SIZE + handle + RESULT
            at += HEADER_SIZE + length
        return to - self.reports

    cdef size_t work(self, const uint8_t* grabs, size_t length) noexcept nogil:
        """The worker grabs, and is done with what it gets; how many bytes it heard."""
        cdef size_t heard, reported
        self.say(self.worker, grabs, length)
        heard = self.hear(self.worker)
        reported = self.report(heard)
        self.say(self.worker, self.reports, reported)
        return heard


cdef class Foreground(Core):
    """A client submits a batch, is told, a worker takes and does it, and the client gets the results; counted by jobs."""

    cdef const uint8_t* submits
    cdef size_t submits_length
    cdef const uint8_t* grabs
    cdef size_t grabs_length
    cdef uint64_t batch

    def __cinit__(self, bytes abilities not None, bytes submits not None, bytes grabs not None, uint64_t batch):
        self.submits, self.submits_length = self.text(submits), len(submits)
        self.grabs, self.grabs_length = self.text(grabs), len(grabs)
        self.batch = batch
        self.say(self.worker, self.text(abilities), len(abilities))

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t done = 0, found = 0
        while done < count:
            self.say(self.client, self.submits, self.submits_length)
            found += self.hear(self.client)
            found += self.work(self.grabs, self.grabs_length)
            found += self.hear(self.client)
            done += self.batch
        return found


cdef class Wakeups(Core):
    """One job at a time for a worker that sleeps: it is woken, grabs, works, asks in vain, and sleeps again."""

    cdef const uint8_t* submit
    cdef size_t submit_length
    cdef const uint8_t* grab
    cdef size_t grab_length
    cdef const uint8_t* rest    # GRAB_JOB and PRE_SLEEP, behind its report
    cdef size_t rest_length

    def __cinit__(self, bytes abilities not None, bytes submit not None, bytes grab not None, bytes sleep not None):
        self.submit, self.submit_length = self.text(submit), len(submit)
        self.grab, self.grab_length = self.text(grab), len(grab)
        self.rest, self.rest_length = self.text(grab + sleep), len(grab + sleep)
        self.say(self.worker, self.text(abilities + grab + sleep), len(abilities + grab + sleep))
        self.hear(self.worker)

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t found = 0
        cdef size_t heard
        for _ in range(count):
            self.say(self.client, self.submit, self.submit_length)
            found += self.hear(self.client) + self.hear(self.worker)
            self.say(self.worker, self.grab, self.grab_length)
            heard = self.hear(self.worker)
            found += heard
            heard = self.report(heard)
            memcpy(self.reports + heard, self.rest, self.rest_length)
            self.say(self.worker, self.reports, heard + self.rest_length)
            found += self.hear(self.client) + self.hear(self.worker)
        return found


cdef class Background(Core):
    """Jobs with a unique each join a long queue, some of them jobs that wait already, and as many leave it.

    `submits` are a batch of the same packet; `unique_at` is where its unique is, `new` how many of them are new jobs.
    With a store, this takes all records once they are made, and has written them before the turn's end.
    """

    cdef uint8_t* submits
    cdef size_t submit_length
    cdef const uint8_t* grabs
    cdef size_t grabs_length
    cdef uint64_t unique_at
    cdef uint64_t batch
    cdef uint64_t new
    cdef uint64_t number

    def __cinit__(
        self, bytes abilities not None, bytes submit not None, bytes grab not None, uint64_t unique_at, uint64_t batch,
        uint64_t new, uint64_t backlog, bint durable=False,
    ):
        cdef uint64_t i
        self.submit_length, self.unique_at, self.batch, self.new = len(submit), unique_at, batch, new
        self.submits = <uint8_t*>fg_calloc(batch, len(submit))
        if self.submits == NULL:
            raise MemoryError()
        for i in range(batch):
            memcpy(self.submits + i * self.submit_length, PyBytes_AS_STRING(submit), len(submit))
        self.grabs, self.grabs_length = self.text(grab * new), len(grab) * new
        for _ in range(backlog // new):
            self.submit()
        self.say(self.worker, self.text(abilities), len(abilities))

    def __dealloc__(self):
        fg_free(self.submits)

    cdef size_t submit(self) noexcept nogil:
        cdef uint64_t i
        for i in range(self.batch):
            if i < self.new:
                self.number += 1
            self.set_unique(i, self.number - (i - self.new if i >= self.new else 0))
        self.say(self.client, self.submits, self.batch * self.submit_length)
        return self.store() + self.hear(self.client)

    cdef void set_unique(self, uint64_t i, uint64_t number) noexcept nogil:
        cdef uint8_t* to = self.submits + i * self.submit_length + self.unique_at
        cdef uint64_t digits = hash_u64(number)
        cdef int digit
        for digit in range(DIGITS):
            to[digit] = 97 + (digits >> 4 * digit & 15)

    cdef size_t store(self) noexcept nogil:
        cdef batch_t* batch = durable_hand_over(&self.state)
        cdef reader_t reader
        cdef record_t record
        cdef slice_t parts[4]
        cdef size_t found = 0
        if batch == NULL:
            return 0
        records_begin(&batch.records, &reader)
        while records_next(&reader, &record, parts):
            found += record.kind + parts[3].length
        durable_written(&self.state, WRITTEN, b"")
        state_fire_due(&self.state)
        return found

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t done = 0, found = 0
        while done < count:
            found += self.submit() + self.work(self.grabs, self.grabs_length) + self.store()
            done += self.batch
        return found


cdef class Questions(Background):
    """A batch of questions, over and over, to a server with many jobs; counted by questions."""

    cdef const uint8_t* questions
    cdef size_t questions_length

    def ask(self, bytes questions not None, uint64_t batch):
        self.questions, self.questions_length, self.batch = self.text(questions), len(questions), batch

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t done = 0, found = 0
        while done < count:
            self.say(self.client, self.questions, self.questions_length)
            found += self.hear(self.client)
            done += self.batch
        return found


cdef class Queues(Core):
    """Jobs of many functions and all priorities: the next one is taken, and put back at the end of its queue."""

    def __cinit__(self, bytes abilities not None, bytes submits not None):
        self.say(self.client, self.text(submits), len(submits))
        self.hear(self.client)
        self.say(self.worker, self.text(abilities), len(abilities))

    cdef uint64_t repeat(self, uint64_t count) noexcept nogil:
        cdef uint64_t found = 0
        cdef job_t* job
        for _ in range(count):
            job = queue_take(&self.state, self.worker)
            if job == NULL:
                return 0
            found += job.in_jobs.hash
            unplace(&self.state, job)
            queue_back(&self.state, job)
        return found
