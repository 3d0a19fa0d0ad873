# SPDX-License-Identifier: MIT
"""Requests handed from any thread to the loop thread, and their answers back. No Python object, no GIL."""

from libc.stdint cimport uint64_t

from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.server.sys cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, EINTR, close, errno, eventfd, pthread_cond_broadcast, pthread_cond_destroy, pthread_cond_init,
    pthread_cond_wait, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock, read, write,
)


cdef int inbox_init(inbox_t* inbox) noexcept nogil:
    inbox.first = inbox.last = NULL
    inbox.closed = True
    inbox.paused = False
    inbox.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    pthread_mutex_init(&inbox.lock, NULL)
    pthread_cond_init(&inbox.changed, NULL)
    return FG_OK if inbox.wake_fd >= 0 else FG_ENOMEM


cdef void inbox_free(inbox_t* inbox) noexcept nogil:
    if inbox.wake_fd >= 0:
        close(inbox.wake_fd)
        inbox.wake_fd = -1
    pthread_mutex_destroy(&inbox.lock)
    pthread_cond_destroy(&inbox.changed)


cdef int inbox_ask(inbox_t* inbox, request_t* request) noexcept nogil:
    request.next = NULL
    request.done = False
    pthread_mutex_lock(&inbox.lock)
    if inbox.closed:
        pthread_mutex_unlock(&inbox.lock)
        return REQUEST_REFUSED
    if inbox.last == NULL:
        inbox.first = request
    else:
        inbox.last.next = request
    inbox.last = request
    inbox_wake(inbox)
    while not request.done:
        pthread_cond_wait(&inbox.changed, &inbox.lock)
    pthread_mutex_unlock(&inbox.lock)
    return request.status


cdef void inbox_wake(inbox_t* inbox) noexcept nogil:
    cdef uint64_t one = 1
    while write(inbox.wake_fd, &one, sizeof(one)) < 0 and errno == EINTR:
        pass


cdef void inbox_resume(inbox_t* inbox) noexcept nogil:
    pthread_mutex_lock(&inbox.lock)
    inbox.paused = False
    pthread_cond_broadcast(&inbox.changed)
    pthread_mutex_unlock(&inbox.lock)


cdef request_t* inbox_take(inbox_t* inbox) noexcept nogil:
    cdef request_t* first
    cdef uint64_t count
    pthread_mutex_lock(&inbox.lock)
    read(inbox.wake_fd, &count, sizeof(count))
    first = inbox.first
    inbox.first = inbox.last = NULL
    pthread_mutex_unlock(&inbox.lock)
    return first


cdef void inbox_done(inbox_t* inbox, request_t* request, int status) noexcept nogil:
    """After this the request belongs to its thread again, and may be gone."""
    pthread_mutex_lock(&inbox.lock)
    request.status = status
    request.done = True
    pthread_cond_broadcast(&inbox.changed)
    pthread_mutex_unlock(&inbox.lock)


cdef void inbox_stand_still(inbox_t* inbox, request_t* request) noexcept nogil:
    pthread_mutex_lock(&inbox.lock)
    inbox.paused = True
    request.status = FG_OK
    request.done = True
    pthread_cond_broadcast(&inbox.changed)
    while inbox.paused:
        pthread_cond_wait(&inbox.changed, &inbox.lock)
    pthread_mutex_unlock(&inbox.lock)


cdef void inbox_open(inbox_t* inbox) noexcept nogil:
    pthread_mutex_lock(&inbox.lock)
    inbox.closed = False
    pthread_mutex_unlock(&inbox.lock)


cdef void inbox_close(inbox_t* inbox) noexcept nogil:
    cdef request_t* request
    cdef request_t* next
    pthread_mutex_lock(&inbox.lock)
    inbox.closed = True
    request = inbox.first
    inbox.first = inbox.last = NULL
    while request != NULL:
        next = request.next
        request.status = REQUEST_REFUSED
        request.done = True
        request = next
    pthread_cond_broadcast(&inbox.changed)
    pthread_mutex_unlock(&inbox.lock)
