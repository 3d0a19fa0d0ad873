# SPDX-License-Identifier: MIT
"""What a server that is a process of its own needs of its system. Knows no server."""
