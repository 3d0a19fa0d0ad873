# SPDX-License-Identifier: MIT
"""Worker processes kept alive: a single-threaded process forks them, watches them and replaces them.

`loop.Supervisor` is that process's loop, and `launch.launch` makes a process to run it in. What a worker does is a callable
that is handed in; this room knows no jobs, no protocol and no pool.
"""
