# SPDX-License-Identifier: MIT
"""The loop of a load: one thread, one epoll, no GIL but between slices of time, when Python looks for signals.

A load goes through stretches. `settle` waits until the server has seen all connections; `begin` starts to send; `run` goes on
until all that was sent has been answered, and all jobs were given out.
"""

from os import strerror

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastgear.base.alloc cimport fg_calloc, fg_free, fg_malloc
from fastgear.base.blob cimport blob_new, blob_release, blob_t
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.bench.client cimport client_init, client_prepare, client_refill, client_request, load_is_closing
from fastgear.bench.connection cimport (
    SCRATCH, connection_close, connection_mark, connection_open, connection_read, connection_settle, connection_write,
    write_dirty,
)
from fastgear.bench.fault cimport load_fail
from fastgear.bench.handles cimport Handles
from fastgear.bench.histogram cimport Histogram, histogram_add, histogram_clear
from fastgear.bench.model cimport (
    FREE, KINDS, LOAD_CLOSED, LOAD_ERROR, LOAD_NO_PACKET, LOAD_SYSTEM, LOAD_TWICE, LOAD_WRONG_BYTES,
    LOAD_WRONG_HANDLE, LOAD_WRONG_LENGTH, PRIORITIES, ROLE_CLIENT, ROLE_WORKER, UNIQUE_ALL, UNIQUE_NONE, UNIQUE_SET,
    connection_t, fault_t, load_t,
)
from fastgear.bench.sys cimport (
    CLOCK_MONOTONIC, EINTR, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, TFD_CLOEXEC, TFD_NONBLOCK,
    TFD_TIMER_ABSTIME, clock_ns, close, epoll_create1, epoll_ctl, epoll_event, epoll_wait, errno, itimerspec,
    timerfd_create, timerfd_settime,
)
from fastgear.bench.worker cimport worker_begin, worker_can_do, worker_init, worker_sweep
from fastgear.protocol.encoder cimport encode_header, slice_of
from fastgear.protocol.packet cimport PacketType as WireType, slice_t

from fastgear.errors import ConnectionLost, RemoteProtocolError, ServerError
from fastgear.protocol.wire import PacketType

cdef enum:
    MAX_EVENTS = 64             # of a turn
    MOST_DUE = 256              # requests of an open loop that are sent between two looks at the sockets

cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF


# -- the loop ---------------------------------------------------------------------------------------------------------

cdef void run_until(load_t* load, int64_t until_ns) noexcept nogil:
    """Or until the stretch is done, its time to send is over, something is wrong, or a signal came."""
    cdef bint was_closing = load_is_closing(load)
    while load.fault.status == FG_OK and not is_done(load):
        if not turn(load, until_ns if was_closing or until_ns < load.until_ns else load.until_ns):
            return
        if load.now_ns >= until_ns or (not was_closing and load.now_ns >= load.until_ns):
            return


cdef bint turn(load_t* load, int64_t until_ns) noexcept nogil:
    """False when a signal came."""
    cdef epoll_event events[MAX_EVENTS]
    cdef int64_t left_ms = (until_ns - load.now_ns) // 1000000 + 1
    cdef bint more_is_due = load.interval_ns > 0 and issue_due(load)
    cdef int i, count
    count = epoll_wait(load.epoll_fd, events, MAX_EVENTS, 0 if more_is_due else <int>(left_ms if left_ms > 0 else 0))
    load.counts.turns += 1
    if count <= 0:
        load.now_ns = clock_ns()  # else reading does
    if count < 0:
        if errno != EINTR:
            load_fail(load, LOAD_SYSTEM, NULL, errno, 0)
        return False
    for i in range(count):
        if events[i].data.ptr != NULL and not on_event(load, <connection_t*>events[i].data.ptr, events[i].events):
            return True
    if is_to_sweep(load):
        sweep(load)
    return True


cdef bint on_event(load_t* load, connection_t* connection, uint32_t events) noexcept nogil:
    if events & (EPOLLIN | EPOLLHUP | EPOLLERR):
        if connection_read(load, connection) != FG_OK:
            return False
    return connection_write(load, connection) == FG_OK


cdef bint is_done(const load_t* load) noexcept nogil:
    if load.begun_ns == 0:
        return load.unsettled == 0
    if load.taking:
        return load.counts.assigned >= load.limit or load.now_ns >= load.until_ns
    if not load_is_closing(load) or load.under_way > 0:
        return False
    if load.unique == UNIQUE_SET:
        return not must_sweep(load) or (load.sweeping and load.unswept == 0)
    return load.client_count == load.connection_count or load.counts.assigned == load.counts.jobs


cdef inline bint must_sweep(const load_t* load) noexcept nogil:
    """Where jobs coalesce, nobody knows how many there are; once all are acknowledged, the workers ask until there are none."""
    return load.unique == UNIQUE_SET and load.counts.background > 0 and load.client_count < load.connection_count


cdef inline bint is_to_sweep(const load_t* load) noexcept nogil:
    return (
        load.unique == UNIQUE_SET and not load.sweeping and load.begun_ns > 0
        and load_is_closing(load) and load.under_way == 0 and must_sweep(load)
    )


cdef void sweep(load_t* load) noexcept nogil:
    cdef uint32_t i
    load.sweeping = True
    load.unswept = load.connection_count - load.client_count
    for i in range(load.client_count, load.connection_count):
        if worker_sweep(load, &load.connections[i]) != FG_OK or connection_write(load, &load.connections[i]) != FG_OK:
            return


# -- the open loop ----------------------------------------------------------------------------------------------------

cdef inline int64_t due_ns(const load_t* load, uint64_t number) noexcept nogil:
    return load.begun_ns + <int64_t>(<double>number * load.interval_ns)


cdef bint issue_due(load_t* load) noexcept nogil:
    """Send what is due, as long as a client has room, each to be measured from when it was due. True when more is."""
    cdef connection_t* connection
    cdef uint64_t room = <uint64_t>load.client_count * load.pipeline
    cdef int sent = 0
    load.now_ns = clock_ns()
    while not load_is_closing(load) and due_ns(load, load.counts.sent) <= load.now_ns:
        if load.under_way == room:
            break  # an answer will bring us here again
        if sent == MOST_DUE:
            write_dirty(load)
            return True
        connection = next_client(load)
        if client_request(load, connection, due_ns(load, load.counts.sent)) != FG_OK:
            return False
        connection_mark(load, connection)
        sent += 1
    if load.under_way < room and not load_is_closing(load):
        arm(load, due_ns(load, load.counts.sent))
    return write_dirty(load) == FG_OK and False


cdef connection_t* next_client(load_t* load) noexcept nogil:
    """In turn, of those that have room; there is one."""
    cdef connection_t* connection
    while True:
        connection = &load.connections[load.turn_of]
        load.turn_of = load.turn_of + 1 if load.turn_of + 1 < load.client_count else 0
        if connection.first_free > 0:
            return connection


cdef void arm(load_t* load, int64_t at_ns) noexcept nogil:
    """epoll's own patience counts milliseconds."""
    cdef itimerspec to
    if load.armed_ns == at_ns:
        return
    load.armed_ns = at_ns
    memset(&to, 0, sizeof(to))
    to.it_value.tv_sec = at_ns // 1000000000
    to.it_value.tv_nsec = at_ns % 1000000000
    if timerfd_settime(load.timer_fd, TFD_TIMER_ABSTIME, &to, NULL) != 0:
        load_fail(load, LOAD_SYSTEM, NULL, errno, 0)


# -- beginnings and ends ----------------------------------------------------------------------------------------------

cdef void begin_stretch(load_t* load) noexcept nogil:
    cdef bint first = not load.started
    cdef uint32_t i
    cdef int status
    memset(&load.counts, 0, sizeof(load.counts))
    histogram_clear(load.latencies)
    load.started = True
    load.sweeping = False
    load.armed_ns = 0
    load.now_ns = load.begun_ns = load.last_ns = clock_ns()
    if first:
        for i in range(load.client_count, load.connection_count):
            if worker_begin(load, &load.connections[i]) != FG_OK or connection_write(load, &load.connections[i]) != FG_OK:
                return
    for i in range(load.client_count if load.interval_ns == 0 else 0):
        status = client_refill(load, &load.connections[i])
        if status != FG_OK or connection_write(load, &load.connections[i]) != FG_OK:
            return


cdef uint64_t give_up(load_t* load) noexcept nogil:
    """Count what has no answer with the time that it has waited, and return how many there are."""
    cdef connection_t* connection
    cdef uint64_t number = 0
    cdef uint32_t i, k
    load.now_ns = clock_ns()
    for i in range(load.client_count):
        connection = &load.connections[i]
        for k in range(load.pipeline):
            if connection.slots[k].kind != FREE:
                histogram_add(load.latencies, load.now_ns - connection.slots[k].since_ns)
    if load.interval_ns > 0:
        number = load.counts.sent
        while number < load.limit and due_ns(load, number) < load.now_ns:
            histogram_add(load.latencies, load.now_ns - due_ns(load, number))
            number += 1
        number -= load.counts.sent
    return load.under_way + number


cdef blob_t* patterned(size_t length) noexcept nogil:
    cdef blob_t* blob = blob_new(length)
    cdef size_t i
    if blob == NULL:
        return NULL
    for i in range(length):
        blob.bytes[i] = <uint8_t>(33 + (i * 7 + (i >> 6)) % 90)
    blob.length = length
    return blob


cdef class Load:
    cdef load_t load
    cdef object address             # for sentences
    cdef object _names              # keeps the bytes of load.functions
    cdef readonly Histogram latencies
    cdef readonly Handles handles

    def __cinit__(
        self, address, functions, *, clients=(), workers=(), sleepers=(), int abilities=0, uint32_t pipeline=1,
        uint32_t grabs=1, size_t payload=0, size_t result=0, kinds=(1, 0, 0), priorities=(0, 1, 0), uniques=0,
        bytes unique_prefix=b"", uint64_t seed=0, Handles handles=None, bint taking=False, bint refusable=False,
        double interval_ns=0.0,
    ):
        cdef load_t* load = &self.load
        load.epoll_fd = load.timer_fd = -1
        if not functions or pipeline < 1 or grabs < 1 or len(unique_prefix) > 16 or not (clients or workers or sleepers):
            raise ValueError("a load needs functions, connections, and room for a request on each")
        self.address = address
        self.latencies = Histogram()
        self.handles = handles
        load.latencies = self.latencies.histogram
        load.handles = &handles.handles if handles is not None else NULL
        load.pipeline, load.grabs, load.taking, load.interval_ns = pipeline, grabs, taking, interval_ns
        load.slot_mask = (1 << (pipeline - 1).bit_length()) - 1
        load.refusable = refusable
        load.random = seed
        self._set_weights(kinds, priorities)
        self._set_uniques(uniques, unique_prefix)
        self._set_functions(functions)
        load.payload, load.result = patterned(payload), patterned(result)
        load.scratch = <uint8_t*>fg_malloc(SCRATCH)
        if load.payload == NULL or load.result == NULL or load.scratch == NULL:
            raise MemoryError()
        encode_header(load.grab, True, WireType.GRAB_JOB, 0)
        if client_prepare(load) != FG_OK:
            raise MemoryError()
        self._open_epoll()
        self._open_connections(clients, workers, sleepers, abilities or len(functions))

    def _set_weights(self, kinds, priorities):
        cdef int i
        for i in range(KINDS):
            self.load.weights[i] = sum(kinds[:i + 1])
        for i in range(PRIORITIES):
            self.load.priorities[i] = sum(priorities[:i + 1])

    def _set_uniques(self, uniques, bytes prefix):
        self.load.unique = UNIQUE_NONE if uniques == 0 else UNIQUE_ALL if uniques is None else UNIQUE_SET
        self.load.uniques = uniques or 0
        self.load.unique_prefix_length = len(prefix)
        memcpy(self.load.unique_prefix, <const char*>prefix, len(prefix))

    def _set_functions(self, functions):
        cdef size_t i
        cdef bytes name
        self._names = tuple(functions)
        self.load.functions = <slice_t*>fg_calloc(len(self._names), sizeof(slice_t))
        if self.load.functions == NULL:
            raise MemoryError()
        for i, name in enumerate(self._names):
            self.load.functions[i] = slice_of(<const char*>name, len(name))
        self.load.function_count = len(self._names)

    def _open_epoll(self):
        cdef epoll_event event
        self.load.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        if self.load.epoll_fd < 0:
            raise OSError(errno, strerror(errno))
        if self.load.interval_ns == 0:
            return
        self.load.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
        event.events = EPOLLIN | EPOLLET
        event.data.ptr = NULL
        if self.load.timer_fd < 0 or epoll_ctl(self.load.epoll_fd, EPOLL_CTL_ADD, self.load.timer_fd, &event) != 0:
            raise OSError(errno, strerror(errno))

    def _open_connections(self, clients, workers, sleepers, size_t abilities):
        cdef load_t* load = &self.load
        cdef connection_t* connection
        load.connections = <connection_t*>fg_calloc(
            len(clients) + len(workers) + len(sleepers), sizeof(connection_t)
        )
        if load.connections == NULL:
            raise MemoryError()
        load.client_count = len(clients)
        for fd in (*clients, *workers, *sleepers):
            connection = &load.connections[load.connection_count]
            load.connection_count += 1
            connection_open(load, connection, fd, ROLE_CLIENT if load.connection_count <= load.client_count else ROLE_WORKER)
            self._prepare(connection, load.connection_count > load.client_count + len(workers), abilities)
        self._check()

    cdef int _prepare(self, connection_t* connection, bint is_sleeper, size_t abilities) except -1:
        cdef load_t* load = &self.load
        cdef size_t k, first
        if connection.role == ROLE_CLIENT:
            if client_init(load, connection) != FG_OK:
                raise MemoryError()
            return 0
        if worker_init(load, connection, is_sleeper) != FG_OK:
            raise MemoryError()
        first = (load.connection_count - 1 - load.client_count) * abilities
        for k in range(abilities):
            worker_can_do(load, connection, (first + k) % load.function_count)
        return 0

    def __dealloc__(self):
        self.close()

    def close(self):
        cdef uint32_t i
        for i in range(self.load.connection_count):
            connection_close(&self.load.connections[i])
        self.load.connection_count = self.load.client_count = 0
        if self.load.epoll_fd >= 0:
            close(self.load.epoll_fd)
        if self.load.timer_fd >= 0:
            close(self.load.timer_fd)
        self.load.epoll_fd = self.load.timer_fd = -1
        if self.load.submissions != NULL:
            for i in range(self.load.function_count):
                if self.load.submissions[i] != NULL:
                    blob_release(self.load.submissions[i])
        fg_free(self.load.submissions)
        fg_free(self.load.connections)
        fg_free(self.load.functions)
        fg_free(self.load.scratch)
        if self.load.payload != NULL:
            blob_release(self.load.payload)
        if self.load.result != NULL:
            blob_release(self.load.result)
        self.load.submissions = NULL
        self.load.connections = NULL
        self.load.functions = NULL
        self.load.scratch = NULL
        self.load.payload = self.load.result = NULL

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    # -- stretches

    def settle(self):
        cdef uint32_t i
        self._check_open()
        self.load.begun_ns = 0
        for i in range(self.load.connection_count):
            connection_settle(&self.load, &self.load.connections[i])
        self._check()

    def begin(self, uint64_t limit, seconds=None):
        self._check_open()
        self.load.limit = limit
        self.load.until_ns = NEVER if seconds is None else clock_ns() + <int64_t>(seconds * 1e9)
        with nogil:
            begin_stretch(&self.load)
        self._check()

    def run(self, double slice_s):
        cdef int64_t until_ns
        self._check_open()
        self.load.now_ns = clock_ns()
        until_ns = self.load.now_ns + <int64_t>(slice_s * 1e9)
        with nogil:
            run_until(&self.load, until_ns)
        self._check()
        return is_done(&self.load)

    def stop(self):
        if not self.load.taking:
            self.load.until_ns = self.load.now_ns
            self.load.limit = self.load.counts.sent

    def give_up(self):
        return give_up(&self.load)

    @property
    def is_closing(self):
        return load_is_closing(&self.load)

    @property
    def waiting(self):
        """Requests without an answer, and jobs that were not given out."""
        jobs = self.load.limit if self.load.taking else self.load.counts.jobs
        has_workers = self.load.client_count < self.load.connection_count
        are_known = has_workers and self.load.unique != UNIQUE_SET
        return max(self.load.under_way, jobs - self.load.counts.assigned if are_known else 0)

    @property
    def silence_s(self):
        return (self.load.now_ns - self.load.last_ns) / 1e9

    @property
    def elapsed_s(self):
        return (self.load.now_ns - self.load.begun_ns) / 1e9

    @property
    def busy_s(self):
        """From the beginning to the last answer."""
        return (self.load.last_ns - self.load.begun_ns) / 1e9

    @property
    def counts(self):
        return self.load.counts

    # -- sentences

    def _check_open(self):
        if self.load.epoll_fd < 0:
            raise RuntimeError("this load is closed")

    def _check(self):
        if self.load.fault.status != FG_OK:
            raise self._error()

    cdef object _error(self):
        cdef fault_t* fault = &self.load.fault
        cdef int status = fault.status
        got, text = fault.got, (<const char*>fault.text)[:fault.text_length].decode(errors="replace")
        if status == FG_ENOMEM:
            return MemoryError()
        if status == LOAD_SYSTEM:
            return OSError(got, strerror(got))
        if status == LOAD_CLOSED:
            reason = strerror(got) if got else "the server closed it"
            return ConnectionLost(f"a connection to {self.address} broke under the load: {reason}")
        if status == LOAD_ERROR:
            return ServerError(*(text.split(" ", 1) + [""])[:2])
        return RemoteProtocolError(f"{self.address} {_sentence(status, fault.type, got, fault.wanted, text)}")


def _sentence(status, type, got, wanted, text):
    name = PacketType(type).name if type > 0 else ""
    if status == LOAD_NO_PACKET:
        return "sent something that is no Gearman packet"
    if status == LOAD_WRONG_LENGTH:
        return f"sent {name} with {got} bytes where there should be {wanted}"
    if status == LOAD_WRONG_BYTES:
        return f"sent {name} with other bytes than it was given"
    if status == LOAD_WRONG_HANDLE:
        return f"sent the result of {text}, a job that this client does not wait for"
    if status == LOAD_TWICE and text:
        return f"acknowledged, gave out or answered {text} twice"
    if status == LOAD_TWICE:
        return f"gave out {got} jobs, and there were {wanted}: some of them twice"
    return f"sent {name}, which does not belong there"
