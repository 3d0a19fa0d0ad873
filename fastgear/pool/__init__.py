# SPDX-License-Identifier: MIT
"""Local parallel work on a private server and prefork workers: Executor, Pool and map."""
