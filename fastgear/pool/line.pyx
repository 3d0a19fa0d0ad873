# SPDX-License-Identifier: MIT
"""A worker's socket to its server: whole writes, and reads that spin for a moment before they sleep.

To wake a process that sleeps on another CPU takes longer than most small tasks. So a worker whose next frame tends to come
within microseconds looks for it a while before it sleeps; one whose waits are long does not.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t

from fastgear.base.alloc cimport fg_free, fg_malloc
from fastgear.server.sys cimport CLOCK_MONOTONIC, MSG_DONTWAIT, MSG_NOSIGNAL, clock_ns, recv, send

cdef extern from "<poll.h>" nogil:
    enum:
        POLLIN
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* fds, unsigned long count, int timeout)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    ROOM = 1 << 20              # bytes read at once
    MOST_NS = 50000             # of spinning
    LEAST_NS = 2000


cdef class Line:
    """On a connected, blocking socket `fd`. `wake_fd` is readable when a wait is to end."""

    cdef int fd
    cdef int wake_fd
    cdef int64_t spin_ns
    cdef uint8_t* room

    def __cinit__(self, int fd, int wake_fd):
        self.fd = fd
        self.wake_fd = wake_fd
        self.spin_ns = 0
        self.room = <uint8_t*>fg_malloc(ROOM)
        if self.room == NULL:
            raise MemoryError()

    def __dealloc__(self):
        fg_free(self.room)

    def receive(self):
        """What has come, waiting for it; None at the end of the stream, b"" when the wait was ended by a signal."""
        cdef ssize_t got
        with nogil:
            got = self.wait()
        if got > 0:
            return PyBytes_FromStringAndSize(<const char*>self.room, got)
        if got == 0:
            return None
        if errno != EAGAIN and errno != EINTR:
            return None
        PyErr_CheckSignals()
        return b""

    cdef ssize_t wait(self) noexcept nogil:
        cdef pollfd fds[2]
        cdef int64_t begun_ns = clock_ns(CLOCK_MONOTONIC)
        cdef ssize_t got = recv(self.fd, self.room, ROOM, MSG_DONTWAIT)
        while got < 0 and errno == EAGAIN and clock_ns(CLOCK_MONOTONIC) - begun_ns < self.spin_ns:
            sched_yield()
            got = recv(self.fd, self.room, ROOM, MSG_DONTWAIT)
        if got >= 0 or errno != EAGAIN:
            return got
        self.spin_ns //= 2
        fds[0].fd, fds[0].events, fds[0].revents = self.fd, POLLIN, 0
        fds[1].fd, fds[1].events, fds[1].revents = self.wake_fd, POLLIN, 0
        if poll(fds, 2, -1) < 0:
            return -1
        got = recv(self.fd, self.room, ROOM, MSG_DONTWAIT)
        if clock_ns(CLOCK_MONOTONIC) - begun_ns < MOST_NS:
            self.spin_ns = min(<int64_t>MOST_NS, max(<int64_t>LEAST_NS, self.spin_ns * 4))
        return got

    def send(self, const uint8_t[::1] data not None):
        """All of it. Raises OSError."""
        cdef ssize_t sent
        cdef Py_ssize_t done = 0
        while done < data.shape[0]:
            with nogil:
                sent = send(self.fd, &data[done], data.shape[0] - done, MSG_NOSIGNAL)
            if sent < 0:
                if errno != EINTR:
                    PyErr_SetFromErrno(OSError)
                PyErr_CheckSignals()
            else:
                done += sent
