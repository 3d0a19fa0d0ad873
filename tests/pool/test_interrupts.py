# SPDX-License-Identifier: MIT
"""A KeyboardInterrupt at any moment: nothing waits for ever after it, and nothing is left."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from fastgear.pool.trying import Trying
from pool.scripts import Script

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
                signal.setitimer(signal.ITIMER_REAL, 20e-6, 0.5)  # again where a callback of the collector swallowed it
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


INTERRUPTED = """
import random, signal, sys, threading, time
from concurrent.futures import CancelledError

import fastgear
import psutil

def interrupt(number, frame):
    if armed:
        raise KeyboardInterrupt

def pair(x):
    return [x, x]

def submit(executor, made):
    while True:
        made += [executor.submit(pair, i) for i in range(50)]
        for future in made[-50:]:
            future.result()

def shutdown(executor, made):
    made += [executor.submit(pair, i) for i in range(50)]
    executor.shutdown()
    signal.pause()

def maps(pool, made):
    while True:
        made.append(pool.map_async(pair, range(100)))
        made[-1].get()
        for _ in pool.imap_unordered(pair, range(300)):
            pass
        pool.map(pair, range(300))

random.seed(1)
armed = False
signal.signal(signal.SIGALRM, interrupt)
make, work = {work}
for _ in range(30):
    made = []
    pool = make(2)
    try:
        next(iter(pool.map(pair, range(1))))
        armed = True
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.03), 0.05)
        work(pool, made)
    except (KeyboardInterrupt, CancelledError):
        armed = False
    for one in made:
        try:
            one.get(10) if make is fastgear.Pool else one.result(10)
        except CancelledError:  # what was to be done was cut off
            pass
    pool.terminate() if make is fastgear.Pool else pool.kill_workers()
signal.setitimer(signal.ITIMER_REAL, 0)
deadline = time.monotonic() + 10
while psutil.Process().children() or threading.active_count() > 1:
    assert time.monotonic() < deadline, (psutil.Process().children(), threading.enumerate())
    time.sleep(0.01)
print("well")
"""


@pytest.mark.parametrize("work", ["fastgear.Executor, submit", "fastgear.Executor, shutdown", "fastgear.Pool, maps"])
def test_an_interrupt_at_any_moment_leaves_nobody_waiting(tmp_path: Path, work: str) -> None:
    code, out, err = Script(tmp_path, INTERRUPTED.replace("{work}", work)).end(50)
    assert (code, out.strip()) == (0, "well"), (
        err
    )  # on standard error may be what Python says of interrupted finalizers
