# SPDX-License-Identifier: MIT
"""What functions without the GIL return. Other rooms add codes of their own below -10."""

cdef enum:
    FG_OK = 0
    FG_NEED_MORE = 1            # nothing is wrong; more bytes must come first
    FG_ENOMEM = -1
