# SPDX-License-Identifier: MIT
"""Durable jobs: what a store promises, and the stores. Knows files and databases; no sockets, no handles, no job server."""
