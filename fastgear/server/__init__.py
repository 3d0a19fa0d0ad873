# SPDX-License-Identifier: MIT
"""The job server: the only room that knows epoll."""
