# SPDX-License-Identifier: MIT
"""What a worker holds back for a moment, so that results of short jobs leave together.

The moment is bounded by a thread of C that never takes the GIL: whatever the worker's next function does, and be it a C
call that keeps the GIL for a minute, what is held back leaves in time. Line tracing would take the GIL, hence the first line.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memmove, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport getpid

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    ctypedef struct pthread_condattr_t:
        pass
    int pthread_create(pthread_t* thread, void* attributes, void* (*run)(void*) noexcept nogil, void* argument)
    int pthread_join(pthread_t thread, void** result)
    int pthread_mutex_init(pthread_mutex_t* mutex, void* attributes)
    int pthread_mutex_destroy(pthread_mutex_t* mutex)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)
    int pthread_condattr_init(pthread_condattr_t* attributes)
    int pthread_condattr_destroy(pthread_condattr_t* attributes)
    int pthread_condattr_setclock(pthread_condattr_t* attributes, int clock)
    int pthread_cond_init(pthread_cond_t* condition, pthread_condattr_t* attributes)
    int pthread_cond_destroy(pthread_cond_t* condition)
    int pthread_cond_signal(pthread_cond_t* condition)
    int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex)
    int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* until)

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    enum:
        SIG_SETMASK
    int sigfillset(sigset_t* signals)
    int pthread_sigmask(int how, const sigset_t* signals, sigset_t* before)

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
    ssize_t send(int fd, const void* data, size_t length, int flags)

cdef enum:
    CAPACITY = 1 << 16          # more than that need not wait for company

cdef int64_t SECOND_NS = 1_000_000_000
cdef int64_t AGAIN_NS = 10_000_000  # after this the thread looks again for room in a socket that had none

cdef struct held_t:
    pthread_t thread
    pthread_mutex_t lock        # guards all below
    pthread_cond_t changed
    bint stopping
    bint idle                   # the thread waits for a signal, not for a time
    int fd                      # where the bytes go; what is held back is for one socket at a time
    size_t length
    int64_t due_ns              # when the thread sends them; moves on when it cannot
    uint8_t data[CAPACITY]


cdef int64_t now_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * SECOND_NS + now.tv_nsec


cdef void* held_watch(void* argument) noexcept nogil:
    cdef held_t* held = <held_t*>argument
    cdef timespec until
    pthread_mutex_lock(&held.lock)
    while not held.stopping:
        if held.length == 0:
            held.idle = True
            pthread_cond_wait(&held.changed, &held.lock)
            held.idle = False
        elif now_ns() >= held.due_ns:
            held_send(held)
        else:
            until.tv_sec = held.due_ns // SECOND_NS
            until.tv_nsec = held.due_ns % SECOND_NS
            pthread_cond_timedwait(&held.changed, &held.lock, &until)
    pthread_mutex_unlock(&held.lock)
    return NULL


cdef void held_send(held_t* held) noexcept nogil:
    """What does not go stays: a broken connection is found by its owner."""
    cdef ssize_t sent = send(held.fd, held.data, held.length, MSG_DONTWAIT | MSG_NOSIGNAL)
    if sent > 0:
        held.length -= sent
        memmove(held.data, held.data + sent, held.length)
    held.due_ns = now_ns() + AGAIN_NS


cdef int held_start(held_t* held) noexcept nogil:
    """Start the thread, with all signals blocked: they are for threads that run Python."""
    cdef sigset_t every, before
    cdef int failure
    sigfillset(&every)
    pthread_sigmask(SIG_SETMASK, &every, &before)
    failure = pthread_create(&held.thread, NULL, held_watch, held)
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    return failure


cdef class HeldBack:
    """Bytes that wait up to `most_s` seconds for company. For one thread, beside its own; `close` it at the end.

    The thread is made at the first `add`. In a forked child, where there is no thread, nothing is held back.
    """

    cdef held_t held
    cdef int64_t most_ns
    cdef int pid                # of the process that has the thread; 0 before

    def __cinit__(self, double most_s):
        cdef pthread_condattr_t attributes
        self.most_ns = <int64_t>(most_s * SECOND_NS)
        memset(&self.held, 0, sizeof(self.held))
        pthread_mutex_init(&self.held.lock, NULL)
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(&self.held.changed, &attributes)
        pthread_condattr_destroy(&attributes)

    def add(self, int fd, bytearray data not None):
        cdef held_t* held = &self.held
        cdef size_t size = len(data)
        if size == 0 or size > CAPACITY or not self.is_running():
            return False
        pthread_mutex_lock(&held.lock)
        if held.length + size > CAPACITY or (held.length > 0 and held.fd != fd):
            pthread_mutex_unlock(&held.lock)
            return False
        if held.length == 0:
            held.due_ns = now_ns() + self.most_ns
            held.fd = fd
        memcpy(held.data + held.length, <char*>data, size)
        held.length += size
        if held.idle:
            pthread_cond_signal(&held.changed)
        pthread_mutex_unlock(&held.lock)
        return True

    def take(self, int fd):
        cdef held_t* held = &self.held
        cdef bytes taken = b""
        if self.pid == 0 or self.pid != getpid():
            return taken
        pthread_mutex_lock(&held.lock)
        if held.length > 0 and held.fd == fd:
            taken = PyBytes_FromStringAndSize(<char*>held.data, held.length)
            held.length = 0
        pthread_mutex_unlock(&held.lock)
        return taken

    def close(self):
        cdef held_t* held = &self.held
        if self.pid == 0 or self.pid != getpid():
            return
        pthread_mutex_lock(&held.lock)
        held.stopping = True
        held.length = 0
        pthread_cond_signal(&held.changed)
        pthread_mutex_unlock(&held.lock)
        pthread_join(held.thread, NULL)
        held.stopping = False
        self.pid = 0

    cdef bint is_running(self) noexcept:
        if self.pid == 0 and held_start(&self.held) == 0:
            self.pid = getpid()
        return self.pid == getpid()

    def __dealloc__(self):
        self.close()
        if self.pid == 0:
            pthread_cond_destroy(&self.held.changed)
            pthread_mutex_destroy(&self.held.lock)
