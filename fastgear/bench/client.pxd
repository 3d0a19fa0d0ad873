# SPDX-License-Identifier: MIT
"""A client of the load: its requests, and what the server says to them."""

from libc.stdint cimport int64_t

from fastgear.bench.model cimport connection_t, load_t
from fastgear.protocol.packet cimport packet_t

# Requests that are always the same are encoded once. FG_OK or FG_ENOMEM.
cdef int client_prepare(load_t* load) noexcept nogil
cdef int client_init(load_t* load, connection_t* connection) noexcept nogil
cdef int client_on_packet(load_t* load, connection_t* connection, const packet_t* packet) noexcept nogil
# QUEUE_ERROR in the place of an acknowledgement: the request is over, and has never been a job.
cdef int client_on_refusal(load_t* load, connection_t* connection, const packet_t* packet) noexcept nogil
# One more request, to be measured from `since_ns` on; there must be a free slot.
cdef int client_request(load_t* load, connection_t* connection, int64_t since_ns) noexcept nogil
# As many as may be under way, in a closed loop.
cdef int client_refill(load_t* load, connection_t* connection) noexcept nogil

cdef inline bint load_is_closing(const load_t* load) noexcept nogil:
    return load.counts.sent >= load.limit or load.now_ns >= load.until_ns
