# SPDX-License-Identifier: MIT
"""The wire, without I/O: packets, text commands, and the conversation of client and worker with a server."""
