# SPDX-License-Identifier: MIT
"""Room in the table of descriptors, as /proc tells of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import threading
from fastgear.server.descriptors import make_room
if {threads}:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
make_room(0)
print(open("/proc/self/status").read())
"""


def room(*, threads: bool) -> int:
    code = CODE.format(threads=threads)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.partition("FDSize:")[2].split()[0])


def test_there_is_room_for_thousands_of_connections_before_the_first_one_comes() -> None:
    limit = int(
        next(line for line in Path("/proc/self/limits").read_text().splitlines() if "open files" in line).split()[3]
    )
    assert room(threads=False) >= min(16_384, limit)


def test_a_program_with_threads_is_not_made_to_wait_for_it() -> None:
    assert room(threads=True) < 1024
