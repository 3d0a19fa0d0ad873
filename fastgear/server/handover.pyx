# SPDX-License-Identifier: MIT
"""Batches from the loop to the thread that writes, and outcomes back. Knows neither what they say nor what writing is."""

from libc.string cimport memset, strcpy, strncpy

from fastgear.base.alloc cimport fg_free, fg_malloc
from fastgear.base.blob cimport blob_release
from fastgear.base.status cimport FG_ENOMEM, FG_OK
from fastgear.server.sys cimport (
    pthread_cond_broadcast, pthread_cond_destroy, pthread_cond_init, pthread_cond_wait, pthread_mutex_destroy,
    pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock,
)


cdef void handover_init(handover_t* handover) noexcept nogil:
    memset(handover, 0, sizeof(handover_t))
    pthread_mutex_init(&handover.lock, NULL)
    pthread_cond_init(&handover.changed, NULL)


cdef void handover_free(handover_t* handover) noexcept nogil:
    cdef brought_t* next
    while handover.brought != NULL:
        next = handover.brought.next
        if handover.brought.blob != NULL:
            blob_release(handover.brought.blob)
        fg_free(handover.brought)
        handover.brought = next
    pthread_mutex_destroy(&handover.lock)
    pthread_cond_destroy(&handover.changed)


cdef void handover_offer(handover_t* handover, const buffer_t* records) noexcept nogil:
    pthread_mutex_lock(&handover.lock)
    handover.offered = records
    pthread_cond_broadcast(&handover.changed)
    pthread_mutex_unlock(&handover.lock)


cdef bint handover_answer_taken(handover_t* handover, int* outcome, char* complaint) noexcept nogil:
    cdef bint answered
    pthread_mutex_lock(&handover.lock)
    answered = handover.answered
    if answered:
        handover.answered = False
        outcome[0] = handover.outcome
        strcpy(complaint, handover.complaint)
    pthread_mutex_unlock(&handover.lock)
    return answered


cdef brought_t* handover_brought(handover_t* handover) noexcept nogil:
    cdef brought_t* first
    pthread_mutex_lock(&handover.lock)
    first = handover.brought
    handover.brought = NULL
    pthread_mutex_unlock(&handover.lock)
    return first


cdef void handover_close(handover_t* handover) noexcept nogil:
    pthread_mutex_lock(&handover.lock)
    handover.closed = True
    pthread_cond_broadcast(&handover.changed)
    pthread_mutex_unlock(&handover.lock)


cdef const buffer_t* handover_take(handover_t* handover) noexcept nogil:
    cdef const buffer_t* records = NULL
    pthread_mutex_lock(&handover.lock)
    while handover.offered == NULL and not handover.closed:
        pthread_cond_wait(&handover.changed, &handover.lock)
    if not handover.closed:
        records = handover.offered
    handover.offered = NULL
    pthread_mutex_unlock(&handover.lock)
    return records


cdef int handover_bring(handover_t* handover, uint64_t number, blob_t* blob) noexcept nogil:
    cdef brought_t* brought = <brought_t*>fg_malloc(sizeof(brought_t))
    if brought == NULL:
        return FG_ENOMEM
    brought.number = number
    brought.blob = blob
    pthread_mutex_lock(&handover.lock)
    brought.next = handover.brought
    handover.brought = brought
    pthread_mutex_unlock(&handover.lock)
    return FG_OK


cdef void handover_answer(handover_t* handover, int outcome, const char* complaint) noexcept nogil:
    pthread_mutex_lock(&handover.lock)
    handover.answered = True
    handover.outcome = outcome
    strncpy(handover.complaint, complaint, MAX_COMPLAINT)
    pthread_mutex_unlock(&handover.lock)
