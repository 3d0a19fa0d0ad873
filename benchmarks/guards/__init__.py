# SPDX-License-Identifier: MIT
"""Guards against slowdowns: hot paths and whole servers, each beside something that only the machine can slow down.

`paths` (loops of C, see loops/), `servers` and `pools` say what there is; `pairs` measures a thing and its reference; `baseline`
judges; `instructions` counts. See docs/decisions/0027-guards.md.
"""
