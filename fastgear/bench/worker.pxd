# SPDX-License-Identifier: MIT
"""A worker of the load: it does nothing with its jobs but answer them, at once."""

from fastgear.bench.model cimport connection_t, load_t
from fastgear.protocol.packet cimport packet_t

cdef int worker_init(load_t* load, connection_t* connection, bint is_sleeper) noexcept nogil
cdef int worker_can_do(load_t* load, connection_t* connection, size_t function) noexcept nogil
# Asks for its first jobs, or goes to sleep.
cdef int worker_begin(load_t* load, connection_t* connection) noexcept nogil
# Asks once more, to be told that there is no more.
cdef int worker_sweep(load_t* load, connection_t* connection) noexcept nogil
cdef int worker_on_packet(load_t* load, connection_t* connection, const packet_t* packet) noexcept nogil
