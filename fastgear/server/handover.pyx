# SPDX-License-Identifier: MIT
"""Batches from the loop to the thread that writes, and outcomes back. Knows neither what they say nor what writing is."""

from libc.string cimport memset, strcpy, strncpy

from fastgear.server.sys cimport (
    pthread_cond_broadcast, pthread_cond_destroy, pthread_cond_init, pthread_cond_wait, pthread_mutex_destroy,
    pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock,
)


cdef void handover_init(handover_t* handover) noexcept nogil:
    memset(handover, 0, sizeof(handover_t))
    pthread_mutex_init(&handover.lock, NULL)
    pthread_cond_init(&handover.changed, NULL)


cdef void handover_free(handover_t* handover) noexcept nogil:
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


cdef void handover_answer(handover_t* handover, int outcome, const char* complaint) noexcept nogil:
    pthread_mutex_lock(&handover.lock)
    handover.answered = True
    handover.outcome = outcome
    strncpy(handover.complaint, complaint, MAX_COMPLAINT)
    pthread_mutex_unlock(&handover.lock)
