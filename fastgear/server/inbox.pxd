# SPDX-License-Identifier: MIT
"""The only door from other threads into the loop: a locked list of requests, and an eventfd that wakes the loop."""

from libc.stdint cimport int64_t

from fastgear.base.buffer cimport buffer_t
from fastgear.protocol.packet cimport slice_t
from fastgear.server.sys cimport pthread_cond_t, pthread_mutex_t

cdef enum:                      # what is asked
    REQUEST_COMMAND = 0         # the reply to a text command
    REQUEST_STOP = 1            # the end of the loop, once limit_ns have passed or no job is left
    REQUEST_PAUSE = 2           # stand still until inbox_resume
    REQUEST_ADVANCE = 3         # the clocks are limit_ns later from now on, and what is due then is done

cdef enum:
    REQUEST_REFUSED = -30       # the loop has ended

# Lives on the stack of the thread that asks, which waits until it is done.
ctypedef struct request_t:
    request_t* next
    int kind
    slice_t line                # of REQUEST_COMMAND
    buffer_t reply              # likewise; filled by the loop, freed by the asker
    int64_t limit_ns            # of REQUEST_STOP and REQUEST_ADVANCE
    int status
    bint done

ctypedef struct inbox_t:
    int wake_fd                 # eventfd, watched by the loop
    pthread_mutex_t lock        # guards all below
    pthread_cond_t changed
    request_t* first            # not seen by the loop yet
    request_t* last
    bint closed                 # the loop takes no more
    bint paused                 # the loop stands still until this is False

cdef int inbox_init(inbox_t* inbox) noexcept nogil  # FG_OK or FG_ENOMEM
cdef void inbox_free(inbox_t* inbox) noexcept nogil

# For the thread that asks: wait until the loop has done it. FG_OK, or REQUEST_REFUSED when the loop has ended.
cdef int inbox_ask(inbox_t* inbox, request_t* request) noexcept nogil
cdef void inbox_resume(inbox_t* inbox) noexcept nogil
# Wake the loop, without a request.
cdef void inbox_wake(inbox_t* inbox) noexcept nogil

# For the loop.
cdef request_t* inbox_take(inbox_t* inbox) noexcept nogil  # all that has come, in order
cdef void inbox_done(inbox_t* inbox, request_t* request, int status) noexcept nogil
cdef void inbox_stand_still(inbox_t* inbox, request_t* request) noexcept nogil  # until inbox_resume
cdef void inbox_open(inbox_t* inbox) noexcept nogil
cdef void inbox_close(inbox_t* inbox) noexcept nogil  # refuses what is still there, and all to come
