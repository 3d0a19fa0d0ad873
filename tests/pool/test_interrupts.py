# SPDX-License-Identifier: MIT
"""A KeyboardInterrupt at any moment: nothing waits for ever after it, and nothing is left."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from fastgear.pool.trying import Trying

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no pool")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def test_a_lock_that_is_tried_for_is_given_back() -> None:
    lock = threading.Lock()
    before = signal.signal(signal.SIGALRM, _interrupt)
    interrupted = 0
    deadline = time.monotonic() + 20
    try:
        while interrupted < 1000 and time.monotonic() < deadline:
            try:
                signal.setitimer(signal.ITIMER_REAL, 20e-6)
                while True:
                    with Trying(lock, 0) as ours:
                        assert ours
            except KeyboardInterrupt:
                interrupted += 1
                assert not lock.locked()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted == 1000
