# SPDX-License-Identifier: MIT
"""The job server without sockets and clock: bytes in, bytes out, at a time that is told to it."""
