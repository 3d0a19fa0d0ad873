# SPDX-License-Identifier: MIT
"""Requests of workers: abilities, sleep, grabs, and reports on the jobs they hold."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr

from fastgear.base.status cimport FG_OK
from fastgear.core.assign cimport assign_next, end_completed, end_failed, end_with_exception, pass_on
from fastgear.core.functions cimport function_find, function_find_or_create
from fastgear.core.jobs cimport handle_number, job_by_handle
from fastgear.core.model cimport MAX_FUNCTION_NAME, ability_t, function_t, job_t
from fastgear.core.peers cimport send_error
from fastgear.core.workers cimport abilities_reset, ability_add, ability_drop, ability_find, worker_sleep
from fastgear.protocol.packet cimport PacketType, slice_t
from fastgear.protocol.text cimport parse_i64

cdef enum:
    NS_PER_MS = 1000000
    MAX_TIMEOUT_MS = 1000000000000  # 31 years; nanoseconds of it still fit


# -- abilities --------------------------------------------------------------------------------------------------------

cdef void add_ability(state_t* state, peer_t* peer, slice_t name, int64_t timeout_ns) noexcept nogil:
    cdef function_t* function
    if name.length == 0 or memchr(name.bytes, 0, name.length) != NULL:
        send_error(state, peer, "INVALID_FUNCTION_NAME", "A function needs a name, and one without NUL bytes")
        return
    if name.length > MAX_FUNCTION_NAME:
        send_error(state, peer, "ARGUMENT_TOO_LARGE", "Function name too large")
        return
    function = function_find_or_create(state, name)
    if function == NULL or ability_add(state, peer, function, timeout_ns) != FG_OK:
        send_error(state, peer, "MEMORY_ALLOCATION_FAILURE", "The server is out of memory")


cdef void on_can_do(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    add_ability(state, peer, packet.args[0], 0)


cdef void on_can_do_timeout(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    """Milliseconds, with no floor; 0 and less mean none, as gearmand has it."""
    cdef long long timeout_ms
    if not parse_i64(packet.args[1], &timeout_ms) or timeout_ms > <long long>MAX_TIMEOUT_MS:
        send_error(state, peer, "INVALID_ARGUMENT", "The timeout of a function is a number of milliseconds")
        return
    add_ability(state, peer, packet.args[0], timeout_ms * NS_PER_MS if timeout_ms > 0 else 0)


cdef void on_cant_do(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    """Jobs that the worker holds stay with it: it only takes no more of them."""
    cdef function_t* function = function_find(state, packet.args[0])
    cdef ability_t* ability = ability_find(state, peer, function) if function != NULL else NULL
    if ability != NULL:
        ability_drop(state, ability)


cdef void on_reset_abilities(state_t* state, peer_t* peer) noexcept nogil:
    abilities_reset(state, peer)


cdef void on_pre_sleep(state_t* state, peer_t* peer) noexcept nogil:
    worker_sleep(state, peer)


cdef void on_grab_job(state_t* state, peer_t* peer, int type) noexcept nogil:
    assign_next(state, peer, type)


# -- reports ----------------------------------------------------------------------------------------------------------

cdef inline job_t* own_job(state_t* state, peer_t* peer, slice_t handle) noexcept nogil:
    """The job, if this worker holds it."""
    cdef job_t* job = job_by_handle(state, handle)
    return job if job != NULL and job.worker == peer else NULL


cdef const char* no_such_job(int type) noexcept nogil:
    """In gearmand's words, which differ by the report."""
    if type == PacketType.WORK_DATA or type == PacketType.WORK_WARNING:
        return "Job does not exist on server"
    if type == PacketType.WORK_EXCEPTION:
        return "An exception was received for a job that does not exist"
    return "Job given in work result not found"


cdef uint64_t leading_number(slice_t text) noexcept nogil:
    """As atoi reads it, which is how gearmand reads the numbers of WORK_STATUS; bounded by what fits."""
    cdef uint64_t number = 0
    cdef size_t i
    for i in range(text.length if text.length < 19 else 19):
        if text.bytes[i] < 48 or text.bytes[i] > 57:
            break
        number = number * 10 + (text.bytes[i] - 48)
    return number


cdef void on_work_status(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    cdef job_t* job = own_job(state, peer, packet.args[0])
    if job == NULL:
        send_error(state, peer, "JOB_NOT_FOUND", no_such_job(packet.type))
        return
    job.numerator = leading_number(packet.args[1])
    job.denominator = leading_number(packet.args[2])
    pass_on(state, job, packet)


cdef void on_work_data(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    cdef job_t* job = own_job(state, peer, packet.args[0])
    if job == NULL:
        send_error(state, peer, "JOB_NOT_FOUND", no_such_job(packet.type))
    else:
        pass_on(state, job, packet)


cdef void on_work_complete(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    cdef job_t* job = own_job(state, peer, packet.args[0])
    if job == NULL:
        send_error(state, peer, "JOB_NOT_FOUND", no_such_job(packet.type))
    else:
        end_completed(state, job, packet)


cdef void on_work_fail(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    """The handle may end in a NUL, as some libraries send it; the clients get it without."""
    cdef slice_t handle = packet.args[0]
    cdef job_t* job
    if handle.length > 0 and handle.bytes[handle.length - 1] == 0:
        handle.length -= 1
    job = own_job(state, peer, handle)
    if job != NULL:
        end_failed(state, job)
    elif peer.excepted > 0 and handle_number(state, handle) == peer.excepted:
        peer.excepted = 0
    else:
        send_error(state, peer, "JOB_NOT_FOUND", no_such_job(packet.type))


cdef void on_work_exception(state_t* state, peer_t* peer, const packet_t* packet) noexcept nogil:
    """It is the end. The WORK_FAIL that Perl's workers and python-gearman's send after it is passed over: at an ERROR the
    former end themselves."""
    cdef job_t* job = own_job(state, peer, packet.args[0])
    if job == NULL:
        send_error(state, peer, "JOB_NOT_FOUND", no_such_job(packet.type))
    else:
        peer.excepted = job.in_jobs.hash
        end_with_exception(state, job, packet)


cdef void refuse_report(state_t* state, peer_t* peer, slice_t handle) noexcept nogil:
    """Also where it is only a part of the outcome: half a result must not pass for a whole one."""
    cdef job_t* job = own_job(state, peer, handle)
    if job != NULL:
        end_failed(state, job)


cdef bint is_own_job(state_t* state, peer_t* peer, slice_t handle) noexcept nogil:
    return own_job(state, peer, handle) != NULL
