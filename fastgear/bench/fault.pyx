# SPDX-License-Identifier: MIT
"""The first fault of a load is the one that counts."""

from libc.string cimport memcpy

from fastgear.base.status cimport FG_OK
from fastgear.bench.model cimport LOAD_WRONG_PACKET, MAX_TEXT, fault_t
from fastgear.protocol.encoder cimport slice_of


cdef int load_fail(load_t* load, int status, const packet_t* packet, int64_t got, int64_t wanted) noexcept nogil:
    if load.fault.status == FG_OK:
        load.fault.status = status
        load.fault.type = packet.type if packet != NULL else 0
        load.fault.got = packet.type if status == LOAD_WRONG_PACKET else got
        load.fault.wanted = wanted
    return status


cdef int load_fail_text(load_t* load, int status, slice_t first, slice_t second) noexcept nogil:
    cdef fault_t* fault = &load.fault
    if fault.status == FG_OK:
        fault.status = status
        fault.text_length = 0
        add_text(fault, first)
        if second.length > 0:
            add_text(fault, slice_of(b" ", 1))
            add_text(fault, second)
    return status


cdef void add_text(fault_t* fault, slice_t text) noexcept nogil:
    cdef size_t room = MAX_TEXT - fault.text_length
    cdef size_t length = text.length if text.length < room else room
    memcpy(fault.text + fault.text_length, text.bytes, length)
    fault.text_length += length
