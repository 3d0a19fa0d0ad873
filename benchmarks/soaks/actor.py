# SPDX-License-Identifier: MIT
"""One of those who take part in the soak, as a process of its own.

    python actor.py ROLE PORT UNIX SEED RATE

It ends at SIGTERM, after what it has begun, and at once when who started it is gone, which its standard input tells. What it prints
is a fault.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from soaks import clients, workers
from soaks.logs import say_what_is_odd
from soaks.notes import Notes
from soaks.odd import odd
from soaks.raw_client import raw_client
from soaks.raw_worker import raw_worker


def end_with_who_started_this() -> None:
    os.read(0, 1)
    os._exit(1)


def play(role: str, port: int, unix: str, rate: float) -> None:
    notes, over = Notes(), threading.Event()
    here, there = addresses = [f"127.0.0.1:{port}", f"unix:{unix}"]
    handle_signals: dict[str, Callable[[], object]] = {
        "worker": lambda: workers.blocking(here, notes),
        "prefetching worker": lambda: workers.prefetching(there, notes),
        "asyncio worker": lambda: workers.with_asyncio(here, notes),
    }
    ask: dict[str, Callable[[], object]] = {
        "raw worker": lambda: raw_worker(port, notes, over.is_set),
        "client": lambda: clients.blocking(addresses, notes, rate, over.is_set),
        "asyncio client": lambda: clients.with_asyncio(addresses, notes, rate, over.is_set),
        "raw client": lambda: raw_client(port, notes, rate, over.is_set),
        "odd": lambda: odd(port, notes, over.is_set),
    }
    if role in ask:
        signal.signal(signal.SIGTERM, lambda *_: over.set())
    (handle_signals | ask)[role]()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # until what it plays has its own
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=end_with_who_started_this, daemon=True).start()
    say_what_is_odd()
    role, port, unix, seed, rate = sys.argv[1:]
    random.seed(int(seed))
    play(role, int(port), unix, float(rate))


if __name__ == "__main__":
    main()
