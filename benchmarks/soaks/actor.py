# SPDX-License-Identifier: MIT
"""One of those who take part in the soak, as a process of its own.

    python actor.py ROLE PORT UNIX SEED RATE

It ends at SIGTERM, after what it has begun, and at once when who started it is gone, which its standard input tells.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from soaks import clients, workers
from soaks.notes import Notes
from soaks.odd import odd
from soaks.raw_client import raw_client
from soaks.raw_worker import raw_worker


def end_with_who_started_this() -> None:
    os.read(0, 1)
    os._exit(1)


def play(role: str, port: int, unix: str, rate: float) -> None:
    notes, here, there = Notes(), f"127.0.0.1:{port}", f"unix:{unix}"
    over = threading.Event()
    if role in ("worker", "prefetching worker", "asyncio worker"):  # which handle signals themselves
        functions = (workers.blocking, workers.prefetching, workers.with_asyncio)
        at = ("worker", "prefetching worker", "asyncio worker").index(role)
        functions[at]((here, there, here)[at], notes)
        return
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    if role == "raw worker":
        raw_worker(port, notes, over.is_set)
    elif role == "raw client":
        raw_client(port, notes, rate, over.is_set)
    elif role == "odd":
        odd(port, notes, over.is_set)
    else:
        function = clients.blocking if role == "client" else clients.with_asyncio
        function([here, there], notes, rate, over.is_set)


def main() -> None:
    threading.Thread(target=end_with_who_started_this, daemon=True).start()
    logging.disable()  # what jobs raise is meant to be raised
    role, port, unix, seed, rate = sys.argv[1:]
    random.seed(int(seed))
    play(role, int(port), unix, float(rate))


if __name__ == "__main__":
    main()
