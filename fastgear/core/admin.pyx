# SPDX-License-Identifier: MIT
"""The text commands: status, workers, prioritystatus, version, verbose, getpid, maxqueue, show, cancel, create, drop.

Formats and error texts are gearmand's, with two differences: names with control characters or, where blanks separate,
blanks are escaped as \\xNN so that a listing stays parseable, and what gearmand answers by closing gets an ERR line.
`counters` is ours: one line per counter, a tab between its name and its value.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t
from posix.unistd cimport getpid

from fastgear.base.list cimport link_t
from fastgear.base.table cimport table_begin, table_cursor_t, table_each, table_length, table_node_t
from fastgear.core.assign cimport end_failed
from fastgear.core.durable cimport durable_complaint
from fastgear.core.functions cimport (
    function_drop, function_find, function_find_or_create, function_name, function_queued, function_total,
)
from fastgear.core.jobs cimport handle_slice, handle_t, job_by_handle, job_handle, job_unique
from fastgear.core.model cimport HIGH, LOW, MAX_FUNCTION_NAME, NORMAL, PRIORITIES, function_t, job_t, peer_t
from fastgear.core.workers cimport ability_from_in_peer
from fastgear.protocol.encoder cimport slice_of
from fastgear.protocol.packet cimport slice_t
from fastgear.protocol.text cimport parse_i64, text_bytes, text_name, text_number, text_string, word_is


cdef int answer_line(state_t* state, buffer_t* out, const line_t* line) noexcept nogil:
    cdef slice_t first = line.words[0] if line.count > 0 else slice_of(NULL, 0)
    if word_is(first, "status"):
        return status(state, out)
    elif word_is(first, "prioritystatus"):
        return priority_status(state, out)
    elif word_is(first, "workers"):
        return workers(state, out)
    elif word_is(first, "version"):
        return text_string(out, "OK ") | text_string(out, state.version) | text_string(out, "\n")
    elif word_is(first, "verbose"):
        return text_string(out, "OK ") | text_string(out, state.settings.verbose) | text_string(out, "\n")
    elif word_is(first, "getpid"):
        return text_string(out, "OK ") | text_number(out, <uint64_t>getpid()) | text_string(out, "\n")
    elif word_is(first, "maxqueue"):
        return max_queue(state, out, line)
    elif word_is(first, "show") and line.count > 1:
        return show(state, out, line)
    elif word_is(first, "cancel") and line.count > 2:
        return cancel(state, out, line)
    elif word_is(first, "create"):
        return create(state, out, line)
    elif word_is(first, "drop"):
        return drop(state, out, line)
    elif word_is(first, "counters"):
        return counters(state, out)
    return text_string(out, "ERR UNKNOWN_COMMAND Unknown+server+command") | text_name(out, first, True) | \
        text_string(out, "\r\n")


cdef bint is_question(const line_t* line) noexcept nogil:
    cdef slice_t first = line.words[0] if line.count > 0 else slice_of(NULL, 0)
    return not (
        word_is(first, "maxqueue") or word_is(first, "cancel") or word_is(first, "create") or word_is(first, "drop")
    )


# -- listings ---------------------------------------------------------------------------------------------------------

cdef int field(buffer_t* out, uint64_t number, const char* after) noexcept nogil:
    return text_number(out, number) | text_string(out, after)


cdef int status(state_t* state, buffer_t* out) noexcept nogil:
    cdef function_t* function
    cdef size_t id
    cdef int result = 0
    for id in range(state.by_id_length):
        function = state.by_id[id]
        if function != NULL:
            result |= text_name(out, function_name(function), False) | text_string(out, "\t")
            result |= field(out, function_total(function), "\t")
            result |= field(out, function.running, "\t") | field(out, function.workers, "\n")
    return result | text_string(out, ".\n")


cdef int priority_status(state_t* state, buffer_t* out) noexcept nogil:
    cdef function_t* function
    cdef size_t id
    cdef int result = 0
    for id in range(state.by_id_length):
        function = state.by_id[id]
        if function != NULL:
            result |= text_name(out, function_name(function), False) | text_string(out, "\t")
            result |= field(out, function.queued[HIGH], "\t") | field(out, function.queued[NORMAL], "\t")
            result |= field(out, function.queued[LOW], "\t") | field(out, function.workers, "\n")
    return result | text_string(out, ".\n")


cdef int workers(state_t* state, buffer_t* out) noexcept nogil:
    cdef link_t* link = state.peers.next
    cdef int result = 0
    while link != &state.peers:
        result |= worker_line(out, <peer_t*>link)  # in_peers is the first member
        link = link.next
    return result | text_string(out, ".\n")


cdef int worker_line(buffer_t* out, peer_t* peer) noexcept nogil:
    cdef link_t* link = peer.abilities.next
    cdef int result = field(out, peer.fd if peer.fd > 0 else 0, " ")
    result |= text_string(out, peer.address) | text_string(out, " ")
    if peer.client_id_length > 0:
        result |= text_name(out, slice_of(peer.client_id, peer.client_id_length), True)
    else:
        result |= text_string(out, "-")
    result |= text_string(out, " :")
    while link != &peer.abilities:
        result |= text_string(out, " ") | text_name(out, function_name(ability_from_in_peer(link).function), True)
        link = link.next
    return result | text_string(out, "\n")


cdef int show(state_t* state, buffer_t* out, const line_t* line) noexcept nogil:
    if line.count == 2 and word_is(line.words[1], "jobs"):
        return show_jobs(state, out, False)
    if line.count == 3 and word_is(line.words[1], "unique") and word_is(line.words[2], "jobs"):
        return show_jobs(state, out, True)
    return text_string(out, "ERR UNKNOWN_SHOW_ARGUMENTS\r\n")


cdef int show_jobs(state_t* state, buffer_t* out, bint uniques) noexcept nogil:
    cdef table_cursor_t cursor = table_begin()
    cdef table_node_t* node = table_each(&state.jobs, &cursor)
    cdef int result = 0
    while node != NULL:
        result |= unique_line(out, <job_t*>node) if uniques else job_line(state, out, <job_t*>node)
        node = table_each(&state.jobs, &cursor)
    return result | text_string(out, ".\n")


cdef int unique_line(buffer_t* out, job_t* job) noexcept nogil:
    """A dot alone would be the end of the listing."""
    cdef slice_t unique = job_unique(job)
    if unique.length == 1 and unique.bytes[0] == c".":
        return text_string(out, "\\x2e\n")
    return text_name(out, unique, False) | text_string(out, "\n")


cdef int job_line(state_t* state, buffer_t* out, job_t* job) noexcept nogil:
    """Handle, retries, ignore, queued; a job that nobody wants is never kept, so ignore is 0; queued means background."""
    cdef handle_t handle
    job_handle(state, job, &handle)
    return text_bytes(out, handle_slice(&handle)) | text_string(out, "\t") | \
        field(out, job.attempts - 1 if job.attempts > 1 else 0, "\t0\t") | field(out, job.background, "\n")


cdef int counter(buffer_t* out, const char* name, uint64_t value) noexcept nogil:
    return text_string(out, name) | text_string(out, "\t") | field(out, value, "\n")


cdef int counters(state_t* state, buffer_t* out) noexcept nogil:
    cdef uint64_t queued = 0, running = 0, delayed = 0
    cdef size_t id
    cdef int result
    for id in range(state.by_id_length):
        if state.by_id[id] != NULL:
            queued += function_queued(state.by_id[id])
            running += state.by_id[id].running
            delayed += state.by_id[id].delayed
    result = counter(out, "connections", state.peer_count) | counter(out, "functions", table_length(&state.functions))
    result |= counter(out, "queued", queued) | counter(out, "running", running) | counter(out, "delayed", delayed)
    result |= counter(out, "memory_bytes", state.memory) | counter(out, "output_bytes", state.output)
    result |= counter(out, "storing", state.journal.storing)
    result |= counter(out, "packets_total", state.counters.packets)
    result |= counter(out, "submitted_total", state.counters.submitted)
    result |= counter(out, "coalesced_total", state.counters.coalesced)
    result |= counter(out, "assigned_total", state.counters.assigned)
    result |= counter(out, "completed_total", state.counters.completed)
    result |= counter(out, "failed_total", state.counters.failed) | counter(out, "lost_total", state.counters.lost)
    result |= counter(out, "timed_out_total", state.counters.timed_out)
    result |= counter(out, "cancelled_total", state.counters.cancelled)
    result |= counter(out, "refused_total", state.counters.refused) | counter(out, "noops_total", state.counters.noops)
    result |= counter(out, "rescues_total", state.counters.rescues)
    result |= counter(out, "cut_off_total", state.counters.cut_off)
    result |= counter(out, "unfinished_total", state.counters.unfinished)
    result |= counter(out, "stored_total", state.counters.stored) | counter(out, "commits_total", state.counters.commits)
    result |= counter(out, "store_failures_total", state.counters.store_failures)
    result |= counter(out, "store_in_trouble", durable_complaint(state) != NULL)
    result |= counter(out, "dead_total", state.counters.dead)
    result |= counter(out, "longest_turn_us", state.counters.longest_turn_us)
    return result | text_string(out, ".\n")


# -- commands ---------------------------------------------------------------------------------------------------------

cdef int incomplete(buffer_t* out, const char* command) noexcept nogil:
    return text_string(out, "ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+") | \
        text_string(out, command) | text_string(out, "\r\n")


cdef int cancel(state_t* state, buffer_t* out, const line_t* line) noexcept nogil:
    cdef job_t* job
    if line.count != 3 or not word_is(line.words[1], "job"):
        return text_string(out, "ERR UNKNOWN_ERROR\r\n")
    job = job_by_handle(state, line.words[2])
    if job == NULL:
        return text_string(out, "ERR UNKNOWN_JOB\r\n")
    state.counters.cancelled += 1
    end_failed(state, job)
    return text_string(out, "OK\r\n")


cdef int create(state_t* state, buffer_t* out, const line_t* line) noexcept nogil:
    if line.count != 3 or not word_is(line.words[1], "function"):
        return incomplete(out, "create")
    if line.words[2].length > MAX_FUNCTION_NAME:
        return text_string(out, "ERR ARGUMENT_TOO_LARGE Function+name+too+large\r\n")
    if function_find_or_create(state, line.words[2]) == NULL:
        return text_string(out, "ERR MEMORY_ALLOCATION_FAILURE\r\n")
    return text_string(out, "OK\r\n")


cdef int drop(state_t* state, buffer_t* out, const line_t* line) noexcept nogil:
    cdef function_t* function
    if line.count != 3 or not word_is(line.words[1], "function"):
        return incomplete(out, "drop")
    function = function_find(state, line.words[2])
    if function == NULL:
        return text_string(out, "ERR function not found\r\n")
    if not function_drop(state, function):
        return text_string(out, "ERR there are still connected workers or executing clients\r\n")
    return text_string(out, "OK\r\n")


cdef int max_queue(state_t* state, buffer_t* out, const line_t* line) noexcept nogil:
    """maxqueue FUNCTION [LIMIT | HIGH NORMAL LOW]: no limit given, 0 and less all mean none."""
    cdef int64_t limits[PRIORITIES]
    cdef long long limit = 0
    cdef function_t* function
    cdef int priority
    if line.count != 2 and line.count != 3 and line.count != 5:
        return incomplete(out, "maxqueue")
    if line.words[1].length > MAX_FUNCTION_NAME:
        return text_string(out, "ERR ARGUMENT_TOO_LARGE Function+name+too+large\r\n")
    for priority in range(PRIORITIES):
        if line.count > 2 and not parse_i64(line.words[2 + priority if line.count == 5 else 2], &limit):
            return text_string(out, "ERR INVALID_ARGUMENTS A+queue+limit+is+a+number\r\n")
        limits[priority] = limit if limit > 0 else 0
    function = function_find_or_create(state, line.words[1])
    if function == NULL:
        return text_string(out, "ERR MEMORY_ALLOCATION_FAILURE\r\n")
    for priority in range(PRIORITIES):
        function.max_queue[priority] = limits[priority]
    return text_string(out, "OK\r\n")
