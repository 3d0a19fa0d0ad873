# SPDX-License-Identifier: MIT
"""The only door between the loop and the thread that writes to the store: one batch goes out, and how it went comes back."""

from libc.stdint cimport uint64_t

from fastgear.base.blob cimport blob_t
from fastgear.base.buffer cimport buffer_t
from fastgear.server.sys cimport pthread_cond_t, pthread_mutex_t

cdef enum:
    MAX_COMPLAINT = 159

# A workload that the loop asked for. Owned by the handover, then by who takes it.
ctypedef struct brought_t:
    brought_t* next
    uint64_t number             # of the job
    blob_t* blob                # NULL: the store does not have it

ctypedef struct handover_t:
    pthread_mutex_t lock        # guards all below
    pthread_cond_t changed
    const buffer_t* offered     # records that nobody has taken yet, or NULL
    bint answered
    int outcome                 # of what was taken, once answered
    char complaint[MAX_COMPLAINT + 1]
    brought_t* brought          # owned; workloads, the last one first
    bint closed                 # there will be no more

cdef void handover_init(handover_t* handover) noexcept nogil
cdef void handover_free(handover_t* handover) noexcept nogil

# For the loop. It offers again only after an answer.
cdef void handover_offer(handover_t* handover, const buffer_t* records) noexcept nogil
# Whether there is an answer, once; `complaint` has room for the longest.
cdef bint handover_answer_taken(handover_t* handover, int* outcome, char* complaint) noexcept nogil
# Workloads that have come since; each is the caller's to free, and the blob's reference too.
cdef brought_t* handover_brought(handover_t* handover) noexcept nogil
cdef void handover_close(handover_t* handover) noexcept nogil

# For the thread that writes. Wait for records; NULL: there will be none.
cdef const buffer_t* handover_take(handover_t* handover) noexcept nogil
cdef int handover_bring(handover_t* handover, uint64_t number, blob_t* blob) noexcept nogil  # FG_OK or FG_ENOMEM
cdef void handover_answer(handover_t* handover, int outcome, const char* complaint) noexcept nogil
