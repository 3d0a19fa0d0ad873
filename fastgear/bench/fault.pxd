# SPDX-License-Identifier: MIT
"""What ends a load: noted without the GIL, turned into a sentence by load.pyx."""

from libc.stdint cimport int64_t

from fastgear.bench.model cimport load_t
from fastgear.protocol.packet cimport packet_t, slice_t

# Both return the status. `packet` may be NULL.
cdef int load_fail(load_t* load, int status, const packet_t* packet, int64_t got, int64_t wanted) noexcept nogil
cdef int load_fail_text(load_t* load, int status, slice_t first, slice_t second) noexcept nogil
