# SPDX-License-Identifier: MIT
"""The whole core, played by any bytes: they are read as settings, and then as what connections, clocks and the store do.

The turn is that of fastgear/server/turn.pyx, without sockets: read, go on with who was held, fire what is due, send, end who has
ended, offer to the store. After every step the state is looked at (_check_driver.pyx), and all that peers hear is read as they
would read it. At the end everybody is given what he waits for, and nothing may be left. tests/fuzz/README.md has the language.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.pycapsule cimport PyCapsule_New
from libc.stddef cimport size_t
from libc.stdint cimport int16_t, int64_t, uint8_t, uint64_t
from libc.stdio cimport fprintf, printf, stderr
from libc.stdlib cimport abort, free, malloc, realloc
from libc.string cimport memchr, memcpy, memmove, memset, strcpy, strlen
from posix.uio cimport iovec

from _check_driver cimport state_complaint

from fastgear.base.blob cimport blob_new, blob_t
from fastgear.base.buffer cimport buffer_gather, buffer_length
from fastgear.base.digits cimport MAX_DIGITS, digits_write
from fastgear.base.list cimport link_t, list_is_empty, list_pop_front
from fastgear.base.status cimport FG_OK
from fastgear.base.table cimport table_length
from fastgear.core.assign cimport assign_brought
from fastgear.core.durable cimport (
    FAILED, REFUSING, WRITTEN, durable_hand_over, durable_is_behind, durable_is_done, durable_restore, durable_uncount,
    durable_written,
)
from fastgear.core.flow cimport flow_is_spent, flow_resume, flow_review, flow_sent, is_answered
from fastgear.core.functions cimport function_find_or_create
from fastgear.core.input cimport input_continue, input_filled, input_more, input_receive, input_resume, input_wants
from fastgear.core.jobs cimport handle_number, job_from_in_place, order_t
from fastgear.core.journal cimport RECORD_SUBMITTED, RECORD_WANTED, reader_t, record_t, records_begin, records_next
from fastgear.core.model cimport (
    HOLD_NOTHING, LARGE_PACKET, MAX_FUNCTION_NAME, MAX_UNIQUE, STORE_TROUBLE, batch_t, peer_t, settings_t, state_t,
)
from fastgear.core.state cimport (
    peer_deafen, state_connect, state_disconnect, state_fire_due, state_free, state_init, state_next_due, state_retire,
    state_set_time, state_settle,
)
from fastgear.protocol.encoder cimport encode_header, slice_of
from fastgear.protocol.packet cimport (
    FROM_SERVER, HEADER_SIZE, PACKET_TYPES, PacketType, packet_fact, packet_read, packet_t, slice_t,
)

from fastgear.base.alloc import fail_after, live_allocations
from fastgear.protocol.packet import PACKETS

cdef enum:
    SLOTS = 6                   # connections at once
    NUMBERS = 512               # jobs whose answers are counted
    MOST_UNREAD = 1 << 19       # bytes that a peer has said and the server not read
    MOST_STEPS = 400
    MOST_TURNS = 3000           # in which all has to come to rest
    FIRST_NUMBER = 1
    WANTED = 64

cdef enum:                      # what an argument is, as far as it matters what is in it
    KIND_TEXT = 0
    KIND_FUNCTION = 1
    KIND_UNIQUE = 2
    KIND_HANDLE = 3
    KIND_NUMBER = 4
    KIND_EPOCH = 5
    KIND_OPTION = 6
    KIND_FIELD = 7              # of a schedule

cdef enum:                      # what a step does
    STEP_SAY = 0                # a packet, well formed
    STEP_BYTES = 1              # any bytes
    STEP_LINE = 2               # a text command
    STEP_FEED = 3               # let the server read what was said
    STEP_TAKE = 4               # read some of the output
    STEP_READS = 5              # begin or cease to read all of it at every turn
    STEP_TIME = 6
    STEP_LEAVE = 7
    STEP_STORE = 8
    STEP_NO_MEMORY = 9
    STEP_STOP = 10              # drain, or what a stop in good order does with jobs that run
    STEPS = 11

ctypedef const char* text_t

ctypedef struct bytes_t:        # that grow
    uint8_t* bytes
    size_t length
    size_t capacity

ctypedef struct slot_t:         # a connection as its other side sees it
    peer_t* peer                # NULL: there is none
    bint local                  # it is one of the process's own, without a socket
    bint reads                  # takes all output at once
    bint eof                    # says nothing more
    bytes_t unread
    bytes_t heard               # of which the end has not come
    bint is_plain               # has said nothing but packets and lines as they should be
    uint64_t asked              # requests to which there is an answer
    uint64_t answered
    int16_t owed[NUMBERS]       # by job: JOB_CREATED heard and no end yet

ctypedef struct game_t:
    state_t state
    const uint8_t* at           # what is still to be played
    const uint8_t* end
    int64_t now_ns
    int64_t wall_ns
    slot_t slots[SLOTS]
    const char* complaint       # NULL, or what is broken
    bint trace
    bint in_turn                # the next step comes in the same turn
    bint starved                # an allocation was made to fail: records of the journal may be missing
    uint64_t lengths[NUMBERS]   # of the workloads that the store has, by job
    uint64_t wanted[WANTED]     # workloads that the store is to bring with its answer
    int wanted_count

cdef game_t game                # one at a time
cdef const char* PREFIX = "H:lap:"
cdef uint8_t KINDS[PACKET_TYPES][8]
cdef uint8_t filler[1 << 18]

_KINDS = {"function": KIND_FUNCTION, "unique": KIND_UNIQUE, "handle": KIND_HANDLE, "reducer": KIND_FUNCTION,
          "aggregator": KIND_FUNCTION, "numerator": KIND_NUMBER, "denominator": KIND_NUMBER, "timeout_ms": KIND_NUMBER,
          "epoch": KIND_EPOCH, "option": KIND_OPTION, "minute": KIND_FIELD, "hour": KIND_FIELD, "day": KIND_FIELD,
          "month": KIND_FIELD, "weekday": KIND_FIELD}


def _fill():
    memset(KINDS, 0, sizeof(KINDS))
    memset(filler, c"x", sizeof(filler))
    for facts in PACKETS:
        for i, name in enumerate(facts.args):
            KINDS[<int>facts.number][<int>i] = _KINDS.get(name, KIND_TEXT)


_fill()

# -- reading the program ----------------------------------------------------------------------------------------------

cdef inline uint8_t take_byte(game_t* game) noexcept nogil:
    if game.at == game.end:
        return 0
    game.at += 1
    return game.at[-1]


cdef inline uint64_t choose(game_t* game, const uint64_t* table, uint8_t length) noexcept nogil:
    return table[take_byte(game) % length]


cdef void settings_read(game_t* game, settings_t* settings) noexcept nogil:
    cdef uint64_t[4] packets = [1 << 20, 1024, 1 << 17, 40000]
    cdef uint64_t[4] outputs = [1 << 20, 1 << 16, 2048, 300000]
    cdef uint64_t[4] memories = [0, 1 << 20, 3000, 200000]
    cdef uint64_t[4] journals = [1 << 26, 300, 5000, 100]
    cdef uint64_t[4] stores = [0, 300, 100000, 1]
    cdef uint64_t[4] timeouts = [60, 0, 1, 600]
    cdef uint8_t flags = take_byte(game)
    memset(settings, 0, sizeof(settings_t))
    settings.timeout_fails = flags & 1
    settings.exceptions = flags >> 1 & 1
    settings.durable = flags >> 2 & 1
    settings.job_retries = <int>(flags >> 3 & 3) - 1
    settings.worker_wakeup = (flags >> 5) + 1 & 7
    settings.max_packet_size = <size_t>choose(game, packets, 4)
    settings.max_output = <size_t>choose(game, outputs, 4)
    settings.pause_output = settings.max_output // 4
    settings.max_memory = choose(game, memories, 4)
    settings.max_journal = <size_t>choose(game, journals, 4)
    settings.store_memory = choose(game, stores, 4)
    flags = take_byte(game)
    settings.input_timeout_ns = <int64_t>timeouts[flags & 3] * 1000000000
    settings.output_timeout_ns = 10000000000
    settings.rescue_ns = 1000000 if flags & 4 else 50000000
    settings.max_queue = flags >> 3 & 3
    settings.dead_after = flags >> 5 & 3
    settings.verbose = "ERROR"


# -- bytes ------------------------------------------------------------------------------------------------------------

cdef uint8_t* room_for(bytes_t* all, size_t length) noexcept nogil:
    if all.length + length > all.capacity:
        all.capacity = 2 * (all.length + length)
        all.bytes = <uint8_t*>realloc(all.bytes, all.capacity)
    all.length += length
    return all.bytes + all.length - length


cdef void append(bytes_t* all, const void* bytes, size_t length) noexcept nogil:
    if length:
        memcpy(room_for(all, length), bytes, length)


cdef void drop_first(bytes_t* all, size_t length) noexcept nogil:
    if length:
        memmove(all.bytes, all.bytes + length, all.length - length)
        all.length -= length


# -- what peers say ---------------------------------------------------------------------------------------------------

cdef void put_number(bytes_t* to, uint64_t number) noexcept nogil:
    cdef uint8_t digits[MAX_DIGITS]
    append(to, digits, digits_write(digits, number))


cdef void put_handle(game_t* game, bytes_t* to, uint8_t which) noexcept nogil:
    """Of a job that was made lately, or of none."""
    append(to, PREFIX, 6)
    put_number(to, game.state.next_number - 1 - (which & 63) if which < 240 else <uint64_t>which << 50)


cdef void put_argument(game_t* game, bytes_t* to, uint8_t kind) noexcept nogil:
    cdef text_t[8] functions = ["f", "g", "h", "f g", "", "i", "j\t", "k"]
    cdef text_t[8] uniques = ["", "u", "-", "v", "w", "", "u", "."]
    cdef text_t[8] numbers = ["0", "1", "50", "1000", "-1", "x", "99999999999", "1000000000001"]
    cdef text_t[4] options = ["fastgear/wait", "exceptions", "", "fastgear/"]
    cdef size_t[8] long_ones = [64, 65, 512, 513, 1024, 1025, 16384, 17000]
    cdef uint8_t which = take_byte(game)
    cdef size_t length
    if which >= 0xF0:
        length = min(<size_t>(which & 15), <size_t>(game.end - game.at))
        append(to, game.at, length)
        game.at += length
    elif which >= 0xE8:
        append(to, filler, long_ones[which & 7])
    elif kind == KIND_FUNCTION:
        append(to, functions[which & 7], strlen(functions[which & 7]))
    elif kind == KIND_UNIQUE:
        append(to, uniques[which & 7], strlen(uniques[which & 7]))
    elif kind == KIND_HANDLE:
        put_handle(game, to, which)
    elif kind == KIND_NUMBER:
        append(to, numbers[which & 7], strlen(numbers[which & 7]))
    elif kind == KIND_EPOCH:
        put_number(to, game.wall_ns // 1000000000 + which if which < 0xE0 else <uint64_t>9000000000 + (which & 1))
    elif kind == KIND_OPTION:
        append(to, options[which & 3], strlen(options[which & 3]))
    elif kind == KIND_FIELD:
        if which & 63:
            put_number(to, which & 63)
    else:
        append(to, filler, which & 31)


cdef size_t data_length(uint8_t which) noexcept nogil:
    cdef size_t[16] large = [
        256, 1000, 1024, 2000, 5000, 16300, 16384, 17000, 30000, 39990, 65536, 66000, 100000, 131072, 140000, 200000,
    ]
    return large[which & 15] if which >= 0xE0 else which >> 3


cdef inline bint has_answer(int type) noexcept nogil:
    return (
        type == PacketType.SUBMIT_JOB or type == PacketType.GRAB_JOB or type == PacketType.GET_STATUS
        or type == PacketType.ECHO_REQ or type == PacketType.SUBMIT_JOB_BG or type == PacketType.SUBMIT_JOB_HIGH
        or type == PacketType.OPTION_REQ or type == PacketType.GRAB_JOB_UNIQ
        or (type >= PacketType.SUBMIT_JOB_HIGH_BG and type <= PacketType.GRAB_JOB_ALL)
        or type == PacketType.GET_STATUS_UNIQUE
    )


cdef inline bint is_answer(int type) noexcept nogil:
    """Of those, one each."""
    return (
        type == PacketType.JOB_CREATED or type == PacketType.NO_JOB or type == PacketType.JOB_ASSIGN
        or type == PacketType.ECHO_RES or type == PacketType.ERROR or type == PacketType.STATUS_RES
        or type == PacketType.OPTION_RES or type == PacketType.JOB_ASSIGN_UNIQ or type == PacketType.JOB_ASSIGN_ALL
        or type == PacketType.STATUS_RES_UNIQUE
    )


cdef void put_packet(game_t* game, slot_t* slot) noexcept nogil:
    cdef bytes_t* to = &slot.unread
    cdef uint8_t chosen = take_byte(game)
    cdef int type = chosen % PACKET_TYPES
    cdef int i, arguments = packet_fact(type).arguments
    cdef size_t start = to.length, length
    cdef uint8_t which
    room_for(to, HEADER_SIZE)
    for i in range(arguments):
        if i > 0:
            append(to, "\0", 1)
        put_argument(game, to, KINDS[type][i])
    if packet_fact(type).has_data:
        which = take_byte(game)
        length = data_length(which)
        if arguments > 0:
            append(to, "\0", 1)
        append(to, filler, length)
        if length > 0:
            to.bytes[to.length - 1] = c"a" + (which & 7)  # so that not all are the same
    slot.asked += has_answer(type)
    encode_header(to.bytes + start, True, type, to.length - start - HEADER_SIZE)
    if game.trace:
        printf("   packet %d of %zu bytes\n", type, to.length - start)


cdef void put_line(game_t* game, bytes_t* to) noexcept nogil:
    cdef text_t[16] lines = [
        "status", "workers", "prioritystatus", "show jobs", "show unique jobs", "counters", "version", "",
        "maxqueue ", "cancel job ", "create function ", "drop function ", "maxqueue f 1 2 3", "verbose", "getpid", "show",
    ]
    cdef uint8_t which = take_byte(game)
    cdef const char* line = lines[which & 15]
    append(to, line, strlen(line))
    if line[0] != 0 and line[strlen(line) - 1] == c" ":
        put_argument(game, to, KIND_HANDLE if line[0] == c"c" and line[1] == c"a" else KIND_FUNCTION)
    if which & 16:
        append(to, " 1", 2)
    append(to, "\r\n" if which & 32 else "\n", 2 if which & 32 else 1)
    if game.trace:
        printf("   line %s\n", line)


# -- what peers hear --------------------------------------------------------------------------------------------------

cdef void complain(game_t* game, const char* complaint) noexcept nogil:
    if game.complaint == NULL:
        game.complaint = complaint


cdef void hear(game_t* game, slot_t* slot, const void* bytes, size_t length) noexcept nogil:
    """As a client reads: packets, and lines, each to its end."""
    cdef packet_t packet
    cdef size_t at = 0
    cdef const uint8_t* newline
    append(&slot.heard, bytes, length)
    while at < slot.heard.length:
        if slot.heard.bytes[at] != 0:
            newline = <const uint8_t*>memchr(slot.heard.bytes + at, 10, slot.heard.length - at)
            if newline == NULL:
                break
            if memchr(slot.heard.bytes + at, 0, newline - slot.heard.bytes - at) != NULL:
                complain(game, "a text answer with a NUL in it")
            at = newline - slot.heard.bytes + 1
            continue
        if slot.heard.length - at < HEADER_SIZE:
            break
        if packet_read(slot.heard.bytes + at, slot.heard.length - at, &packet) != FG_OK:
            if packet.length == 0 or packet.length <= slot.heard.length - at:
                complain(game, "an answer that is no packet")
            break
        hear_packet(game, slot, &packet)
        at += packet.length
    drop_first(&slot.heard, at)


cdef void hear_packet(game_t* game, slot_t* slot, packet_t* packet) noexcept nogil:
    cdef int type = packet.type
    cdef uint64_t number
    slot.answered += is_answer(type)
    if packet.is_request or not packet_fact(type).senders & FROM_SERVER:
        complain(game, "an answer that no server sends")
    if type == PacketType.JOB_CREATED or packet_fact(type).senders != FROM_SERVER:  # else: it is said of work
        number = handle_number(&game.state, packet.args[0])
        if number == 0:
            complain(game, "an answer with a handle that is none")
        if number == 0 or number >= NUMBERS:
            return
        if type == PacketType.JOB_CREATED:
            slot.owed[number] += 1
        elif slot.owed[number] <= 0:
            complain(game, "a client hears of a job that it was not told of, or of its end twice")
        elif type == PacketType.WORK_COMPLETE or type == PacketType.WORK_FAIL or type == PacketType.WORK_EXCEPTION:
            slot.owed[number] -= 1


cdef void take_output(game_t* game, slot_t* slot, size_t most) noexcept nogil:
    cdef iovec piece
    cdef size_t length
    while most > 0 and slot.peer != NULL and buffer_gather(&slot.peer.out, &piece, 1) == 1:
        length = min(most, piece.iov_len)
        hear(game, slot, piece.iov_base, length)
        flow_sent(&game.state, slot.peer, length)
        most -= length


# -- connections ------------------------------------------------------------------------------------------------------

cdef void connect(game_t* game, slot_t* slot, bint local) noexcept nogil:
    slot.peer = state_connect(&game.state)
    if slot.peer == NULL:
        return
    slot.peer.owner = slot
    strcpy(slot.peer.address, "-")
    slot.local = local
    slot.reads = True
    slot.eof = False
    slot.is_plain = True
    slot.asked = slot.answered = 0
    slot.unread.length = slot.heard.length = 0
    memset(slot.owed, 0, sizeof(slot.owed))


cdef void disconnect(game_t* game, slot_t* slot) noexcept nogil:
    state_disconnect(&game.state, slot.peer)
    slot.peer = NULL


cdef bint feed_some(game_t* game, slot_t* slot, size_t most) noexcept nogil:
    """One recv, as server/connection.pyx does it, or what server/local.pyx does. False: nothing is read now."""
    cdef peer_t* peer = slot.peer
    cdef size_t length = min(most, slot.unread.length), wanted, kept
    cdef uint8_t* to
    if peer == NULL or peer.closing or slot.eof or length == 0:
        return False
    if slot.local:
        input_more(&game.state, peer, slot.unread.bytes, length)
        drop_first(&slot.unread, length)
        return True
    if peer.hold != HOLD_NOTHING:
        return False
    wanted = input_wants(&game.state, peer, &to)
    if wanted > 0:
        wanted = min(wanted, length)
        memcpy(to, slot.unread.bytes, wanted)
        drop_first(&slot.unread, wanted)
        input_filled(&game.state, peer, wanted)
        return True
    kept = peer.rest_length
    length = min(length, <size_t>4 * LARGE_PACKET)
    to = <uint8_t*>malloc(kept + length)  # of this size, so that whoever reads behind it is seen
    kept = input_resume(peer, to)
    memcpy(to + kept, slot.unread.bytes, length)
    drop_first(&slot.unread, length)
    input_receive(&game.state, peer, to, kept + length)
    free(to)
    return True


# -- the turn ---------------------------------------------------------------------------------------------------------

cdef void begin_turn(game_t* game) noexcept nogil:
    cdef peer_t* peer
    state_set_time(&game.state, game.now_ns, game.wall_ns)
    while not list_is_empty(&game.state.resumed) and not flow_is_spent(&game.state):
        peer = flow_resume(&game.state)
        input_continue(&game.state, peer)


cdef void end_turn(game_t* game) noexcept nogil:
    state_fire_due(&game.state)
    send_all(game)
    while bury(game):
        state_settle(&game.state)
        send_all(game)


cdef void send_all(game_t* game) noexcept nogil:
    cdef slot_t* slot
    cdef int i
    while not list_is_empty(&game.state.dirty):
        list_pop_front(&game.state.dirty)
    for i in range(SLOTS):
        slot = &game.slots[i]
        if slot.peer == NULL:
            continue
        if slot.reads:
            take_output(game, slot, <size_t>-1)
        flow_review(&game.state, slot.peer)
        if slot.eof and not is_answered(slot.peer) and not slot.peer.closing:
            state_retire(&game.state, slot.peer)
            flow_review(&game.state, slot.peer)


cdef bint bury(game_t* game) noexcept nogil:
    """Those that are doomed, and those that are closing and have their answers. False: there are none."""
    cdef slot_t* slot
    cdef link_t* link = game.state.doomed.next
    cdef bint some = False
    cdef int i
    for i in range(SLOTS):
        slot = &game.slots[i]
        if slot.peer == NULL:
            continue
        link = &slot.peer.in_doomed
        if link.next != link or ((slot.peer.closing or slot.eof) and is_answered(slot.peer)):
            disconnect(game, slot)
            some = True
    return some


cdef void look(game_t* game, bint settled) noexcept nogil:
    complain(game, state_complaint(&game.state, settled))


# -- the store --------------------------------------------------------------------------------------------------------

cdef void read_records(game_t* game, batch_t* batch) noexcept nogil:
    cdef reader_t reader
    cdef record_t record
    cdef slice_t parts[4]
    records_begin(&batch.records, &reader)
    while records_next(&reader, &record, parts):
        if record.kind == RECORD_SUBMITTED:
            if parts[0].length == 0 or parts[0].length > MAX_FUNCTION_NAME or parts[1].length > MAX_UNIQUE:
                complain(game, "a record of the journal says what no submission says")
            if record.number < NUMBERS:
                game.lengths[record.number] = record.workload_length
        elif record.kind == RECORD_WANTED and game.wanted_count < WANTED:
            game.wanted[game.wanted_count] = record.number
            game.wanted_count += 1
        elif record.kind < RECORD_SUBMITTED or record.kind > RECORD_WANTED:
            complain(game, "a record of the journal of no kind")


cdef void bring(game_t* game, uint64_t number, bint found) noexcept nogil:
    cdef blob_t* blob = NULL
    cdef uint64_t length = game.lengths[number] if number < NUMBERS else 10
    if found:
        blob = blob_new(max(<size_t>length, <size_t>1))
        if blob != NULL:
            blob.length = <size_t>length
            memcpy(blob.bytes, filler, min(<size_t>length, sizeof(filler)))
    assign_brought(&game.state, number, blob)


cdef void store_takes(game_t* game) noexcept nogil:
    cdef batch_t* batch = durable_hand_over(&game.state)
    if batch != NULL:
        game.wanted_count = 0
        read_records(game, batch)


cdef void store_answers(game_t* game, int outcome, bint finds) noexcept nogil:
    """What is wanted is read before anything is written. That there is no room is said of nothing but an empty batch."""
    cdef int i
    if not game.state.journal.writing:
        return
    if outcome == REFUSING and game.state.journal.store != STORE_TROUBLE:
        outcome = FAILED
    for i in range(game.wanted_count):
        bring(game, game.wanted[i], finds)
    durable_written(&game.state, outcome, "" if outcome == WRITTEN else "The store is not well")


cdef void restore_some(game_t* game, int count) noexcept nogil:
    """As server/changes.pyx does: jobs of an earlier life."""
    cdef order_t order
    cdef uint8_t which
    cdef int i
    for i in range(count):
        which = take_byte(game)
        memset(&order, 0, sizeof(order))
        order.function = function_find_or_create(&game.state, slice_of("f", 1))
        order.unique = slice_of("u", which & 1)
        order.reducer = slice_of("g", which >> 1 & 1)
        order.has_reducer = which >> 1 & 1
        order.workload = slice_of(filler, 0 if which & 4 else which >> 3)
        order.priority = which % 3
        order.background = True
        game.lengths[FIRST_NUMBER + i] = which >> 3
        durable_restore(
            &game.state, &order, FIRST_NUMBER + i, which >> 6, game.wall_ns + 1000000000 if which & 8 else 0, which >> 2 & 1
        )


# -- steps ------------------------------------------------------------------------------------------------------------

cdef void step(game_t* game) except *:
    cdef uint8_t what = take_byte(game)
    cdef uint8_t who = take_byte(game)
    cdef slot_t* slot = &game.slots[(who & 15) % SLOTS]
    cdef int kind = (what & 31) % STEPS
    if game.trace:
        printf("%2d of slot %d%s%s\n", kind, (who & 15) % SLOTS, b", local" if who & 16 else b"",
               b", and the turn goes on" if what & 128 else b"")
    if not game.in_turn:
        begin_turn(game)
    if slot.peer == NULL and kind <= STEP_READS:
        connect(game, slot, who >> 4 & 1)
    if kind <= STEP_FEED:
        step_input(game, slot, kind)
    elif kind == STEP_TAKE:
        take_output(game, slot, <size_t>take_byte(game) * take_byte(game))
    elif kind == STEP_READS:
        slot.reads = not slot.reads
    elif kind == STEP_TIME:
        step_time(game, take_byte(game))
        state_set_time(&game.state, game.now_ns, game.wall_ns)
    elif kind == STEP_LEAVE:
        step_leave(game, slot, take_byte(game))
    elif kind == STEP_STORE:
        step_store(game, take_byte(game))
    elif kind == STEP_NO_MEMORY:
        game.starved = True
        fail_after(take_byte(game) & 31)
    elif take_byte(game) & 1:
        game.state.draining = not game.state.draining
    else:
        durable_uncount(&game.state)
    game.in_turn = (what & 128) != 0
    if not game.in_turn:
        end_turn(game)
    look(game, not game.in_turn)


cdef void step_input(game_t* game, slot_t* slot, int kind) noexcept nogil:
    cdef uint64_t[8] shares = [0, 0, 0, 1, 2, 8, 1000, 20000]
    cdef size_t length, most
    cdef uint8_t how = take_byte(game)
    if slot.unread.length < MOST_UNREAD and slot.peer != NULL:
        if kind == STEP_SAY:
            put_packet(game, slot)
        elif kind == STEP_LINE:
            put_line(game, &slot.unread)
        elif kind == STEP_BYTES:
            slot.is_plain = False
            length = take_byte(game)
            length = min(length, <size_t>(game.end - game.at))
            append(&slot.unread, game.at, length)
            game.at += length
    most = shares[how & 7] if shares[how & 7] > 0 else <size_t>-1
    while feed_some(game, slot, most):
        if most != <size_t>-1:
            break


cdef void step_time(game_t* game, uint8_t how) noexcept nogil:
    cdef int64_t[16] ms = [
        0, 1, 2, 10, 50, 51, 100, 999, 1000, 5000, 10000, 10001, 60000, 61000, 3600000, 86400000,
    ]
    cdef int64_t passed_ns = ms[how & 15] * 1000000
    if how & 16:
        game.wall_ns += 365 * passed_ns if how & 32 else -passed_ns
        game.wall_ns = min(max(game.wall_ns, <int64_t>0), <int64_t>9100000000000000000)
    else:
        game.now_ns += passed_ns
        game.wall_ns = min(game.wall_ns + passed_ns, <int64_t>9100000000000000000)


cdef void step_leave(game_t* game, slot_t* slot, uint8_t how) noexcept nogil:
    if slot.peer == NULL:
        return
    if how & 3 == 0 or slot.local:
        disconnect(game, slot)
    elif how & 3 == 1:
        slot.eof = True
    elif how & 3 == 2:
        peer_deafen(&game.state, slot.peer)
    else:
        peer_deafen(&game.state, slot.peer)
        slot.eof = True


cdef void step_store(game_t* game, uint8_t how) noexcept nogil:
    cdef int[8] outcomes = [0, 0, 0, 0, 1, 1, 3, 2]
    if how & 16 == 0:
        store_takes(game)
    if how & 32 == 0:
        store_answers(game, outcomes[how & 7], not how & 8)


# -- the end ----------------------------------------------------------------------------------------------------------

cdef bint rests(game_t* game) noexcept nogil:
    cdef int i
    for i in range(SLOTS):
        if game.slots[i].peer != NULL and (buffer_length(&game.slots[i].peer.out) > 0):
            return False
    return list_is_empty(&game.state.resumed) and not durable_is_behind(&game.state) and (
        durable_is_done(&game.state) and state_next_due(&game.state) != 0
    )


cdef void come_to_rest(game_t* game) noexcept nogil:
    """Everybody reads, the store is well, and all that was said is read."""
    cdef int i, turns = 0
    cdef bint fed = True
    while (fed or not rests(game)) and game.complaint == NULL:
        begin_turn(game)
        fed = False
        for i in range(SLOTS):
            game.slots[i].reads = True
            fed = feed_some(game, &game.slots[i], <size_t>-1) or fed
        store_answers(game, WRITTEN, True)
        end_turn(game)
        store_takes(game)
        look(game, True)
        turns += 1
        if turns > MOST_TURNS:
            complain(game, "it does not come to rest")


cdef void do_all(game_t* game) noexcept nogil:
    """A worker that can do everything does it, whenever it is due."""
    cdef slot_t* slot = &game.slots[0]
    cdef size_t id
    cdef int turns = 0
    game.state.settings.max_packet_size = 1 << 20
    connect(game, slot, False)
    for id in range(game.state.by_id_length):
        if game.state.by_id[id] != NULL:
            say(slot, PacketType.CAN_DO, slice_of(game.state.by_id[id].name, game.state.by_id[id].name_length))
    game.wall_ns = <int64_t>9150000000000000000
    come_to_rest(game)
    while table_length(&game.state.jobs) > 0 and game.complaint == NULL:
        if slot.peer == NULL:
            complain(game, "a worker in good order was closed")
            return
        say(slot, PacketType.GRAB_JOB, slice_of(NULL, 0))
        come_to_rest(game)
        if slot.peer != NULL and not list_is_empty(&slot.peer.jobs):
            say_complete(game, slot, job_from_in_place(slot.peer.jobs.next).in_jobs.hash)
            come_to_rest(game)
        turns += 1
        if turns > MOST_TURNS:
            complain(game, "there are jobs that no worker gets")


cdef void say(slot_t* slot, int type, slice_t argument) noexcept nogil:
    encode_header(room_for(&slot.unread, HEADER_SIZE), True, type, argument.length)
    append(&slot.unread, argument.bytes, argument.length)


cdef void say_complete(game_t* game, slot_t* slot, uint64_t number) noexcept nogil:
    cdef bytes_t handle
    memset(&handle, 0, sizeof(handle))
    append(&handle, PREFIX, 6)
    put_number(&handle, number)
    append(&handle, "\0", 1)
    say(slot, PacketType.WORK_COMPLETE, slice_of(handle.bytes, handle.length))
    free(handle.bytes)


cdef void end_well(game_t* game) noexcept nogil:
    """Workers leave, and all that is left is done; then nobody waits for anything."""
    cdef int i
    begin_turn(game)
    for i in range(SLOTS):
        if game.slots[i].peer != NULL and (i == 0 or not list_is_empty(&game.slots[i].peer.jobs)):
            disconnect(game, &game.slots[i])
    end_turn(game)
    come_to_rest(game)
    for i in range(SLOTS):
        if game.slots[i].peer != NULL and (i == 0 or not list_is_empty(&game.slots[i].peer.jobs)):
            disconnect(game, &game.slots[i])  # what they had said meanwhile gave them some
    if game.complaint == NULL:
        do_all(game)
    for i in range(SLOTS):
        if game.complaint == NULL and game.slots[i].peer != NULL and not list_is_empty(&game.slots[i].peer.waits):
            complain(game, "all jobs are done, and a client waits")
        if game.complaint == NULL and game.slots[i].peer != NULL and not is_answered_well(game, &game.slots[i]):
            complain(game, "a request has no answer")


cdef bint is_answered_well(game_t* game, slot_t* slot) noexcept nogil:
    """By a packet for every request, or more: there are errors about others. Where memory ran out, some may be missing."""
    if not slot.is_plain or game.starved or slot.eof or slot.peer.closing or slot.peer.deaf:
        return True
    return slot.answered + slot.peer.parked >= slot.asked


cdef void leave_all(game_t* game) noexcept nogil:
    cdef int i
    for i in range(SLOTS):
        if game.slots[i].peer != NULL:
            disconnect(game, &game.slots[i])
        free(game.slots[i].unread.bytes)
        free(game.slots[i].heard.bytes)


# -- doors ------------------------------------------------------------------------------------------------------------

cdef const char* play_bytes(const uint8_t* bytes, size_t length, bint trace, bint breaks) except? NULL:
    """NULL, or what is broken. With `breaks` something is, so that this can be tested."""
    cdef settings_t settings
    cdef uint64_t[2] key = [1, 2]
    cdef long before = live_allocations()
    cdef int restored
    memset(&game, 0, sizeof(game))
    game.at, game.end = bytes, bytes + length
    game.trace = trace
    game.now_ns, game.wall_ns = 1000000000000, 1700000000000000000
    settings_read(&game, &settings)
    restored = take_byte(&game) & 3 if settings.durable else 0
    state_init(&game.state, &settings, PREFIX, "test", key, FIRST_NUMBER + restored)
    state_set_time(&game.state, game.now_ns, game.wall_ns)
    restore_some(&game, restored)
    for _ in range(MOST_STEPS):
        if game.at == game.end or game.complaint != NULL:
            break
        step(&game)
    fail_after(-1)
    game.state.memory += breaks
    if game.complaint == NULL:
        end_well(&game)
    leave_all(&game)
    if game.complaint == NULL and (game.state.output != 0 or game.state.peer_count != 0):
        complain(&game, "all have left, and there is output for somebody")
    if game.complaint == NULL and game.state.memory != 0:
        complain(&game, "nothing is left, and state.memory is not zero")
    state_free(&game.state)
    if game.complaint == NULL and live_allocations() != before:
        complain(&game, "memory was allocated and not freed")
    return game.complaint


cdef int one_input(const uint8_t* bytes, size_t length) except -1:
    cdef const char* complaint = play_bytes(bytes, length, False, False)
    if complaint != NULL:
        fprintf(stderr, "fastgear: %s\n", complaint)
        abort()
    return 0


door = PyCapsule_New(<void*>one_input, "one_input", NULL)


def play(bytes data not None, *, bint trace=False, bint breaks=False):
    """Raise AssertionError for what is broken."""
    cdef const char* complaint = play_bytes(<const uint8_t*>PyBytes_AS_STRING(data), len(data), trace, breaks)
    assert complaint == NULL, (<bytes>complaint).decode()
