# SPDX-License-Identifier: MIT
"""One connection: its socket and its packets. What they mean is the business of client and worker."""

from fastgear.bench.model cimport connection_t, load_t

cdef enum:
    SCRATCH = 1 << 18           # bytes read at once

# All of these return FG_OK, or what is also in load.fault.
cdef int connection_open(load_t* load, connection_t* connection, int fd, int role) noexcept nogil
cdef void connection_close(connection_t* connection) noexcept nogil
# As much as there is; each packet goes to on_packet.
cdef int connection_read(load_t* load, connection_t* connection) noexcept nogil
cdef int connection_write(load_t* load, connection_t* connection) noexcept nogil
# What waits is sent by write_dirty.
cdef void connection_mark(load_t* load, connection_t* connection) noexcept nogil
cdef int write_dirty(load_t* load) noexcept nogil
# An ECHO_REQ: when its answer is here, the server has seen all that went before.
cdef int connection_settle(load_t* load, connection_t* connection) noexcept nogil
