# SPDX-License-Identifier: MIT
"""Guards against slowdowns: hot paths and whole servers, each beside something that only the machine can slow down."""
