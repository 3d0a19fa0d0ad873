# SPDX-License-Identifier: MIT
"""Everything that the job server remembers, on one page. Read this first.

Each struct has one owner, named above it, and one function that frees it. All of it belongs to one state_t, and a state_t to
one thread at a time. Times are nanoseconds: `..._ns` of a monotonic clock, `..._wall_ns` since 1970. No sockets, no clock.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastgear.base.bitset cimport bitset_t
from fastgear.base.blob cimport blob_t, shelf_t
from fastgear.base.buffer cimport buffer_t, pieces_t
from fastgear.base.heap cimport heap_entry_t, heap_t
from fastgear.base.index cimport index_t
from fastgear.base.list cimport link_t
from fastgear.base.slab cimport slabs_t
from fastgear.base.table cimport table_node_t, table_t
from fastgear.protocol.packet cimport packet_t, slice_t

cdef enum:
    MAX_FUNCTION_NAME = 512     # bytes, as libgearman has it
    MAX_UNIQUE = 64             # bytes, as gearmand has it; all 64 are kept
    MAX_CLIENT_ID = 1024        # bytes; gearmand keeps 127
    MAX_HANDLE = 63             # bytes, by the protocol
    MAX_PREFIX = 42             # of a handle, with its last colon; leaves room for a number of 20 digits
    MAX_ADDRESS = 72            # text of a peer's address
    LARGE_PACKET = 16384        # an incomplete packet longer than this gets its data straight into a blob

cdef enum:                      # priorities; the order is the order in which queues are looked at
    HIGH = 0
    NORMAL = 1
    LOW = 2
    PRIORITIES = 3
    NAMED = 16                  # functions that are found without a hash

cdef enum:                      # where a job is
    JOB_DELAYED = 0             # in state.epochs
    JOB_QUEUED = 1              # in its function's queue
    JOB_RUNNING = 2             # in its worker's jobs
    JOB_STORING = 3             # nowhere before the store has it; its timer's key says when it is due

cdef enum:                      # what the store knows of a job
    STORED_NOT = 0              # nothing, and it need not
    STORED_SOON = 1             # a record of it is on its way
    STORED_SAFELY = 2           # it has it, and will be told of its end

cdef enum:                      # how the store does
    STORE_NONE = 0              # there is none: all jobs are in memory only
    STORE_WELL = 1
    STORE_TROUBLE = 2           # it failed, and is tried again
    STORE_LOST = 3              # it failed for good

cdef enum:                      # why a peer's input waits
    HOLD_NOTHING = 0            # it does not
    HOLD_FULL = 1               # until the peer has read more of the answers to its own requests
    HOLD_CLIENT = 2             # until a client, whom its next report is for, has; it is in that one's `held`
    HOLD_TURN = 3               # until the next turn: others come first; it is in state.resumed
    HOLD_STORE = 4              # until the store has caught up; it is in state.journal.held
    HOLD_WORKLOAD = 5           # until the workload of the job that it awaits is here

ctypedef struct peer_t

ctypedef struct settings_t:     # chosen when the state is made, constant after that
    int job_retries             # -1: no limit; n: given out max(n, 1) times
    bint timeout_fails          # at an ability timeout the job fails; otherwise it counts as lost by its worker
    bint exceptions             # the option "exceptions" is on for everyone
    uint32_t worker_wakeup      # sleepers woken per queued job; 0: all of them
    int64_t rescue_ns           # how long a woken worker may take to grab before another is woken
    int64_t max_queue           # default limit of a function's jobs; 0: none
    uint64_t max_memory         # bytes of jobs, workloads and waiting output; 0: no limit
    size_t max_packet_size      # header included
    size_t max_output           # unsent bytes of a peer above which others' reports to it wait
    size_t pause_output         # unsent bytes of answers to a peer's own requests at which further ones wait
    int64_t output_timeout_ns   # how long a peer with more than max_output may take for a quarter of it
    int64_t input_timeout_ns    # how long a peer may be silent in the middle of a packet or a line; 0: for ever
    bint durable                # there is a store for background jobs
    uint32_t dead_after         # a stored job that is lost after so many attempts is put aside; 0: never
    uint64_t store_memory       # bytes of workloads of stored jobs above which further ones stay in the store; 0: no limit
    size_t max_journal          # bytes on their way to the store at which further durable submissions wait
    const char* verbose         # the word that the text command "verbose" answers

# One named thing that workers can do. Owned by state.functions; freed by function_free.
ctypedef struct function_t:
    table_node_t in_functions   # by hash of the name
    size_t id                   # small number, an index of state.by_id and of the bit sets; free again after the drop
    link_t queue[PRIORITIES]    # job_t.in_place, first to run first
    uint32_t queued[PRIORITIES] # their lengths
    uint32_t delayed            # jobs not due yet, or not stored yet
    uint32_t running
    uint32_t workers            # connections with the ability
    uint32_t wakes              # workers with a NOOP under way for this function
    bint needy                  # its bit in state.needy
    link_t sleepers             # ability_t.in_sleep; a worker on it may have woken meanwhile (see workers.pyx)
    int64_t max_queue[PRIORITIES]  # 0: no limit
    size_t name_length
    uint8_t name[1]             # name_length bytes

# One submitted unit of work. Owned by state.jobs; freed by job_free. `bytes` is unique, reducer and, unless blob is set, workload.
ctypedef struct job_t:
    table_node_t in_jobs        # by number: in_jobs.hash is the number in the handle
    link_t in_place             # function_t.queue or peer_t.jobs; unlinked while delayed
    heap_entry_t timer          # state.epochs while delayed, state.timeouts while running
    link_t waits                # wait_t.in_job: the clients that get the answers
    function_t* function
    peer_t* worker              # who runs it, or NULL
    blob_t* blob                # a large workload, else NULL
    uint64_t key_hash           # of function and key, by which it is in state.uniques; only with has_key
    uint64_t numerator          # last WORK_STATUS
    uint64_t denominator
    uint32_t waiting            # length of waits
    uint32_t workload_length    # of the workload inside bytes
    uint16_t unique_length
    uint16_t reducer_length
    uint16_t attempts           # how often it was given out
    uint8_t priority
    uint8_t place               # JOB_...
    uint8_t stored              # STORED_...
    bint kept                   # its workload counts in journal.kept
    bint away                   # its workload is in the store only
    bint has_key                # in state.uniques
    bint background             # survives its clients
    bint has_reducer
    uint8_t bytes[1]

# One client's waiting for one job; a client may wait twice for the same. Owned by its job; freed by wait_free.
ctypedef struct wait_t:
    link_t in_job               # job_t.waits
    link_t in_peer              # peer_t.waits
    job_t* job
    peer_t* peer

# The answer to a submission that waits until the store has the job. Owned by its batch; freed by answer_free.
ctypedef struct answer_t:
    link_t in_batch             # batch_t.answers
    link_t in_peer              # peer_t.answers; on no list once the peer has gone
    peer_t* peer                # NULL: it has
    uint64_t number             # of the job
    uint64_t place              # how many bytes of all that was ever put into peer.behind come before it

# Changes that the store takes as one. Owned by the journal.
ctypedef struct batch_t:
    buffer_t records            # see journal.pxd
    size_t counted              # bytes of them that state.memory counts; large workloads are their jobs'
    link_t answers              # answer_t.in_batch, in the order of the submissions

# What is on its way to the store: one batch is being filled, while another is written by somebody else's thread.
ctypedef struct journal_t:
    uint8_t store               # STORE_...
    bint writing                # the batch `written` is with that thread
    batch_t filling
    batch_t written
    uint64_t storing            # jobs in JOB_STORING
    uint64_t kept               # bytes of the workloads of stored jobs that are in memory
    link_t held                 # peer_t.in_held: clients whose next submission waits until there is room
    char complaint[160]         # what clients are told while the store is not well

# One worker's being able to do one function. Owned by state.abilities; freed by ability_free.
ctypedef struct ability_t:
    table_node_t in_abilities   # by hash of peer and function id
    link_t in_peer              # peer_t.abilities
    link_t in_sleep             # function_t.sleepers or peer_t.unlisted, always one of them
    peer_t* peer
    function_t* function
    int64_t timeout_ns          # 0: none

# What the core knows of a connection. Owned by state.peers; freed by peer_free.
ctypedef struct peer_t:
    link_t in_peers             # state.peers
    link_t in_dirty             # state.dirty: has output that the loop has not seen
    link_t in_doomed            # state.doomed: to be disconnected without another byte
    link_t in_woken             # state.woken: has a NOOP under way
    link_t in_served            # state.served: has grabs that wait, and now there is a job
    buffer_t out
    size_t counted              # bytes of out and behind that state.output counts
    size_t own                  # bytes of answers to its own requests since out was last empty
    uint64_t taken              # bytes that have left out since the beginning
    uint64_t id                 # never used again
    void* owner                 # the connection, for the room that has sockets
    int fd                      # for the listing of `workers` only
    char address[MAX_ADDRESS]   # likewise
    uint8_t* client_id          # owned, or NULL
    size_t client_id_length
    bint closing                # no more input; closed when its output has left
    bint deaf                   # nothing can be sent to it any more; what it has said before is still read
    bint exceptions             # wants WORK_EXCEPTION
    # input
    uint8_t* rest               # owned: the beginning of a packet whose end has not come, or NULL
    size_t rest_length
    uint64_t skip               # bytes still to come of a packet that was refused
    blob_t* blob                # data of a large packet under way, or NULL
    size_t blob_missing         # bytes of it still to come
    packet_t head               # that packet; its arguments point into rest
    link_t in_halves            # state.halves: so far it has sent half a packet or half a line
    int64_t half_until_ns       # when it must have gone on
    # flow
    uint8_t hold                # HOLD_...: why its input waits
    link_t in_held              # peer_t.held of the client whom its next report is for
    link_t in_resumed           # state.resumed: its input goes on in the next turn
    link_t held                 # peer_t.in_held: workers whose reports wait until this one has read
    link_t in_slow              # state.slow: has too much output, or is closing and has some
    int64_t slow_until_ns       # by then
    uint64_t slow_taken         # so many bytes must have left
    link_t answers              # answer_t.in_peer: submissions whose jobs the store does not have yet
    buffer_t behind             # output that must not come before those answers
    uint64_t passed             # bytes that have left `behind` for `out` since the beginning
    # as a client
    link_t waits                # wait_t.in_peer
    # as a worker
    link_t abilities            # ability_t.in_peer, newest first
    link_t unlisted             # ability_t.in_sleep: abilities that no function's sleepers list holds
    bitset_t can_do             # the ids of their functions
    size_t timed                # how many of them have a timeout
    size_t turn                 # functions with an id below this are looked at first
    link_t jobs                 # job_t.in_place, oldest first
    bint sleeping               # said PRE_SLEEP or has grabs that wait, not woken since
    bint parks                  # its grabs wait for a job (option fastgear/wait)
    int parked_grab             # their type
    uint32_t parked             # how many do
    function_t* woken_for       # whose job the NOOP under way is about, or NULL
    int64_t woken_ns
    job_t* awaited              # a job of its own that it was not told of, since the workload is away, or NULL
    int awaited_grab            # the type of the grab that gets it
    uint64_t excepted           # number of the job that it ended with WORK_EXCEPTION last, or 0

ctypedef struct counters_t:     # since the start
    uint64_t packets
    uint64_t submitted          # JOB_CREATED answers
    uint64_t coalesced          # of them, those that joined a job
    uint64_t assigned
    uint64_t completed
    uint64_t failed             # WORK_FAIL and WORK_EXCEPTION
    uint64_t lost               # given back by workers that left
    uint64_t timed_out
    uint64_t cancelled
    uint64_t refused            # requests answered with ERROR
    uint64_t noops
    uint64_t rescues
    uint64_t cut_off            # peers that did not read
    uint64_t unfinished         # peers that did not finish what they began to say
    uint64_t stored             # background jobs that the store has taken
    uint64_t commits            # batches that it has taken
    uint64_t store_failures     # batches that it has not
    uint64_t dead               # jobs put aside, since they were given out too often
    uint64_t longest_turn_us    # kept by who turns the loop: how long nobody else was heard, at the most

# One job server. Owned by whoever called state_init.
ctypedef struct state_t:
    settings_t settings
    counters_t counters
    int64_t now_ns              # set by state_set_time
    int64_t now_wall_ns
    bint draining               # takes no new jobs
    uint64_t hash_key[2]        # secret, so that nobody can choose colliding names
    uint64_t next_number        # of the next job
    uint64_t next_peer
    char prefix[MAX_PREFIX + 1] # of handles, with the last colon
    size_t prefix_length
    uint8_t stem[MAX_HANDLE + 1]  # what handles begin with just now: the prefix, and all digits of stem_number
    size_t stem_length
    uint64_t stem_number        # a job's without its last eight digits; 0: there is no stem
    char version[32]
    uint64_t memory             # bytes of all jobs, waits and workloads, those under way included
    pieces_t pieces             # of output, to be used again
    shelf_t spares              # blobs of large packets to be used again; those that nobody else holds are not in `memory`
    uint64_t output             # bytes that wait to be sent; a blob counts as often as it is to be sent
    uint64_t effort             # work done so far, in pieces of about 100 ns; only for what may take long
    uint64_t effort_before      # what it was when the turn began
    peer_t* speaker             # whose request is being handled, or NULL
    table_t functions           # function_t.in_functions
    slabs_t slabs               # where jobs and waits lie
    table_t jobs                # job_t.in_jobs
    index_t uniques             # jobs by key_hash
    table_t abilities           # ability_t.in_abilities
    function_t** by_id          # owned array; NULL where an id is free
    size_t by_id_length
    size_t by_id_capacity
    size_t first_free_id        # no id below this is free
    function_t* named[NAMED]    # found lately, each where its name leads (see functions.pyx), or NULL
    bitset_t ready[PRIORITIES]  # ids of functions with queued jobs
    bitset_t needy              # ids of functions that have more queued jobs than wakes
    journal_t journal
    heap_t epochs               # job_t.timer by wall time
    heap_t timeouts             # job_t.timer by monotonic time
    link_t woken                # peer_t.in_woken, oldest first
    link_t peers                # peer_t.in_peers
    size_t peer_count
    link_t dirty                # peer_t.in_dirty
    link_t doomed               # peer_t.in_doomed
    link_t served               # peer_t.in_served
    link_t resumed              # peer_t.in_resumed
    link_t slow                 # peer_t.in_slow, first to be overdue first
    link_t halves               # peer_t.in_halves, likewise
