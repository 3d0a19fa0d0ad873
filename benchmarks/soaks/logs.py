# SPDX-License-Identifier: MIT
"""What workers log of jobs that raise and of jobs that come too late is meant to happen; all else is odd, and is printed."""

from __future__ import annotations

import logging

__all__ = ["say_what_is_odd"]


def say_what_is_odd() -> None:
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.addFilter(is_odd)
    logging.getLogger().addHandler(handler)


def is_odd(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, ValueError) or "a job that this worker lost" in record.getMessage())
