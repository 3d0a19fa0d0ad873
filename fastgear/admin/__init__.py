# SPDX-License-Identifier: MIT
"""Looking at a server from outside, and telling it what to do, by its text commands."""
