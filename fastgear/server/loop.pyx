# SPDX-License-Identifier: MIT
"""The Python door of the loop: made, run, asked and stopped. The turns themselves are turn.pyx."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport errno as c_errno
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset
from posix.uio cimport iovec

from fastgear.base.alloc cimport fg_free, fg_malloc
from fastgear.base.buffer cimport buffer_consume, buffer_free, buffer_gather, buffer_init, buffer_t
from fastgear.base.list cimport list_init
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.core.model cimport settings_t
from fastgear.core.state cimport state_free, state_init
from fastgear.server.ending cimport close_connections, close_locals
from fastgear.server.handover cimport handover_close, handover_free, handover_init
from fastgear.server.inbox cimport (
    REQUEST_ADVANCE, REQUEST_COMMAND, REQUEST_PAUSE, REQUEST_REFUSED, REQUEST_STOP, inbox_ask, inbox_close, inbox_free, inbox_init,
    inbox_open, inbox_resume, request_t,
)
from fastgear.server.listeners cimport close_listeners, listener_add, watch
from fastgear.server.model cimport SCRATCH, WATCH_INBOX
from fastgear.server.sys cimport (
    EPOLL_CLOEXEC, O_CLOEXEC, O_RDONLY, close, condition_init, epoll_create1, open, pthread_cond_destroy,
    pthread_mutex_destroy, pthread_mutex_init,
)
from fastgear.server.turn cimport run

cdef enum:
    NS_PER_MS = 1000000
    MAX_JOURNAL = 64 << 20      # bytes on their way to the store


cdef class Loop:

    def __cinit__(self, config not None, bytes prefix not None, bytes version not None, bytes verbose not None,
                  bytes random not None, unsigned long long first_number, bint durable=False):
        cdef settings_t settings
        cdef uint64_t key[2]
        self.is_begun = True
        self.loop.epoll_fd = self.loop.spare_fd = self.loop.inbox.wake_fd = -1
        handover_init(&self.loop.handover)
        list_init(&self.loop.listeners)
        list_init(&self.loop.connections)
        list_init(&self.loop.lingering)
        list_init(&self.loop.dead)
        list_init(&self.loop.unproven)
        list_init(&self.loop.talkers)
        list_init(&self.loop.locals)
        pthread_mutex_init(&self.loop.lock, NULL)
        condition_init(&self.loop.aside)
        self.verbose = verbose  # settings point into it
        read_settings(&settings, config, verbose, durable)
        memcpy(key, PyBytes_AS_STRING(random), sizeof(key))
        state_init(&self.loop.state, &settings, prefix, version, key, first_number)
        self.has_state = True
        self.loop.max_connections = config.max_connections
        self.loop.user_timeout_ns = <int64_t>config.user_timeout_s * 1000 * NS_PER_MS
        self.loop.prove_every_ns = self.loop.user_timeout_ns // 4
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
        if watch(&self.loop, &self.loop.inbox_watch) != 0:
            raise OSError(c_errno, "the server cannot wait for what it is asked")
        return 0

    def __dealloc__(self):
        if not self.is_begun:  # the arguments were wrong, and descriptors that are 0 are somebody else's
            return
        if self.has_state:  # else the constructor raised before it
            close_listeners(&self.loop)
            close_connections(&self.loop)
            close_locals(&self.loop)
            state_free(&self.loop.state)
            pthread_cond_destroy(&self.loop.aside)
            pthread_mutex_destroy(&self.loop.lock)
        inbox_free(&self.loop.inbox)
        handover_free(&self.loop.handover)
        if self.loop.epoll_fd >= 0:
            close(self.loop.epoll_fd)
        if self.loop.spare_fd >= 0:
            close(self.loop.spare_fd)
        fg_free(self.loop.scratch)

    def listen(self, int fd):
        cdef int status = listener_add(&self.loop, fd)
        cdef int error = c_errno
        if status == FG_OK:
            return
        close(fd)
        if status == FG_ENOMEM:
            raise MemoryError()
        raise OSError(error, f"descriptor {fd} cannot be listened on")

    def open(self):
        inbox_open(&self.loop.inbox)

    def run(self):
        with nogil:
            run(&self.loop)
            inbox_close(&self.loop.inbox)
            handover_close(&self.loop.handover)

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

    def advance(self, double seconds):
        cdef request_t request
        cdef int status
        memset(&request, 0, sizeof(request))
        request.kind = REQUEST_ADVANCE
        request.limit_ns = <int64_t>(seconds * 1e9)
        with nogil:
            status = inbox_ask(&self.loop.inbox, &request)
        return status == FG_OK

    def forget(self):
        """In a forked child: close the copies of the descriptors. Epoll is left alone, it is the parent's too."""
        self.loop.inbox.closed = True
        self.loop.inbox.paused = False
        pthread_mutex_init(&self.loop.lock, NULL)  # a thread that does not exist here may have held it
        condition_init(&self.loop.aside)
        close(self.loop.epoll_fd)
        self.loop.epoll_fd = -1
        close_listeners(&self.loop)
        close_connections(&self.loop)
        close_locals(&self.loop)

    def command(self, bytes line not None):
        cdef request_t request
        cdef int status
        memset(&request, 0, sizeof(request))
        request.kind = REQUEST_COMMAND
        request.line.bytes = <const uint8_t*>PyBytes_AS_STRING(line)
        request.line.length = len(line)
        buffer_init(&request.reply, NULL)
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


cdef int read_settings(settings_t* settings, config, bytes verbose, bint durable) except -1:
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
    settings.pause_output = config.max_output // 4
    settings.output_timeout_ns = <int64_t>config.output_timeout_s * 1000 * NS_PER_MS
    settings.input_timeout_ns = <int64_t>config.input_timeout_s * 1000 * NS_PER_MS
    settings.durable = durable
    settings.dead_after = config.dead_after
    settings.store_memory = config.store_memory
    settings.max_journal = MAX_JOURNAL
    settings.verbose = PyBytes_AS_STRING(verbose)
    return 0
