# SPDX-License-Identifier: MIT
"""Everything that a load remembers, on one page."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastgear.base.blob cimport blob_t
from fastgear.base.buffer cimport buffer_t
from fastgear.base.table cimport table_node_t, table_t
from fastgear.bench.histogram cimport histogram_t
from fastgear.protocol.packet cimport HEADER_SIZE, slice_t

cdef enum:                      # what a client asks for
    FOREGROUND = 0
    BACKGROUND = 1
    ECHO = 2
    KINDS = 3
    FREE = 3                    # of a slot: nothing

cdef enum:
    HIGH = 0
    NORMAL = 1
    LOW = 2
    PRIORITIES = 3

cdef enum:                      # where uniques come from
    UNIQUE_NONE = 0
    UNIQUE_ALL = 1              # each another
    UNIQUE_SET = 2              # one of load_t.uniques

cdef enum:                      # what a connection is
    ROLE_CLIENT = 0
    ROLE_WORKER = 1

cdef enum:                      # beside FG_OK and FG_ENOMEM: what ends a load. See load.pyx for the sentences.
    LOAD_CLOSED = -21           # the server closed a connection, or it broke: errno in fault_t.got, 0 for the former
    LOAD_NO_PACKET = -22        # what came is no packet
    LOAD_WRONG_PACKET = -23     # one of type fault_t.got that does not belong there
    LOAD_ERROR = -24            # the server said ERROR, fault_t.text
    LOAD_WRONG_LENGTH = -25     # fault_t.got bytes instead of fault_t.wanted, in a packet of type fault_t.type
    LOAD_WRONG_BYTES = -26      # not those that were sent
    LOAD_WRONG_HANDLE = -27     # a result for a job that is not under way here, fault_t.text
    LOAD_TWICE = -28            # more jobs given out than there are; with the check of handles, fault_t.text is the one
    LOAD_SYSTEM = -29           # a system call failed: errno in fault_t.got

cdef enum:
    MAX_HANDLE = 64             # bytes, as in gearmand
    MAX_TEXT = 256

ctypedef struct fault_t:
    int status                  # LOAD_..., FG_ENOMEM, or FG_OK
    int type                    # of the packet
    int64_t got
    int64_t wanted
    uint8_t text[MAX_TEXT]
    size_t text_length

# A request under way. Owned by connection_t.slots; `next` and the heads that lead to it are indices plus one.
ctypedef struct slot_t:
    int64_t since_ns            # when it was sent, or should have been
    uint32_t next               # in its bucket, or of those that are free
    uint8_t kind                # FOREGROUND, ...
    uint8_t handle_length
    uint8_t handle[MAX_HANDLE]

# Owned by load_t.connections. The descriptor is the caller's.
ctypedef struct connection_t:
    int fd
    int role                    # ROLE_...
    buffer_t out
    bint blocked                # epoll was asked when there is room for output
    bint dirty                  # is on load_t.dirty
    connection_t* next_dirty
    uint8_t* kept               # owned; the beginning of a packet whose end is not here
    size_t kept_length
    size_t kept_capacity
    size_t skip                 # bytes of its data that are still to come, and are not kept
    uint32_t unsettled          # requests to settle without an answer
    # of clients
    slot_t* slots               # owned; load_t.pipeline of them
    uint32_t* unacknowledged    # owned ring of slot_mask + 1: indices of slots in the order they were sent
    uint32_t* buckets           # owned, likewise; by handle
    uint32_t first_free
    uint32_t under_way
    uint32_t oldest             # of the ring; these count on and on
    uint32_t newest
    # of workers
    bint is_sleeper             # begins asleep, and grabs one at a time
    uint32_t asked              # grabs without an answer
    int64_t* asked_ns           # owned ring of load_t.grabs: when they were sent
    uint32_t answered           # of the ring
    uint32_t sweeping           # answers until the sweep's own

ctypedef struct counts_t:
    uint64_t sent               # requests of clients
    uint64_t finished           # results, acknowledgements of background jobs, echoes
    uint64_t jobs               # submitted, of both kinds
    uint64_t background
    uint64_t acknowledged       # jobs
    uint64_t assigned
    uint64_t wakeups            # NOOPs
    uint64_t no_jobs            # NO_JOBs
    uint64_t refused            # requests, with QUEUE_ERROR; they count among none of the above but `sent`
    uint64_t turns              # of the loop

# The jobs of which something is not known yet, for the check of handles.
ctypedef struct handles_t:
    table_t table               # known_t.node, which are owned
    uint64_t key

ctypedef struct known_t:
    table_node_t node
    uint8_t seen                # SEEN_... of handles.pyx
    uint8_t length
    uint8_t handle[MAX_HANDLE]

ctypedef struct load_t:
    # what is to be done
    uint32_t weights[KINDS]     # of requests, summed up: the last is all
    uint32_t priorities[PRIORITIES]  # likewise
    uint32_t pipeline           # requests under way for each client
    uint32_t slot_mask          # the next power of two, minus one
    uint32_t grabs              # likewise for each worker
    slice_t* functions          # owned array of borrowed names
    uint32_t function_count
    int unique                  # UNIQUE_...
    uint64_t uniques
    uint8_t unique_prefix[16]   # of this run
    size_t unique_prefix_length
    blob_t* payload             # held
    blob_t* result              # held
    blob_t** submissions        # owned array of held packets, one for each function; NULL: they are not always the same
    uint8_t grab[HEADER_SIZE]   # a GRAB_JOB
    handles_t* handles          # borrowed; NULL: not checked
    bint taking                 # workers only: empty a queue, and measure from grab to job
    bint refusable              # QUEUE_ERROR ends a request, and not the load
    # connections
    int epoll_fd
    int timer_fd                # -1 in a closed loop
    connection_t* connections   # owned array
    uint32_t connection_count
    uint32_t client_count       # which come first
    connection_t* dirty         # have output of this turn
    uint8_t* scratch            # for every read
    bint started                # the workers have asked for jobs
    # the stretch at hand
    int64_t now_ns
    int64_t begun_ns
    int64_t until_ns            # nothing is sent after it
    int64_t last_ns             # when something last got done
    int64_t armed_ns            # what the timer was set to
    uint64_t limit              # of requests; when taking, of jobs
    double interval_ns          # between requests of an open loop; 0: closed
    uint32_t turn_of            # client, in an open loop
    uint64_t under_way          # requests
    uint32_t unsettled          # requests to settle, of all connections
    uint32_t unswept            # workers that may not know yet that there is no more
    bint sweeping
    uint64_t next_function
    uint64_t random
    uint64_t unique_number
    counts_t counts
    histogram_t* latencies      # borrowed
    fault_t fault
