# SPDX-License-Identifier: MIT
"""Programs for tests/ext/_play_driver.pyx, written in words. Programs of this kind are what the fuzzer begins with.

What is a table here is one there, in the same order.
"""

from __future__ import annotations

from speak import NUMBERS

SAY, BYTES, LINE, FEED, TAKE, READS, TIME, LEAVE, STORE, NO_MEMORY, STOP = range(11)
ALL, ONE, TWO, EIGHT, THOUSAND = 0, 3, 4, 5, 6  # how much of what was said is read at once
GOES_ON = 128  # the next step comes in the same turn
LOCAL = 16

PACKET_LIMITS = (1 << 20, 1024, 1 << 17, 40000)
OUTPUT_LIMITS = (1 << 20, 1 << 16, 2048, 300000)
MEMORY_LIMITS = (0, 1 << 20, 3000, 200000)
JOURNAL_LIMITS = (1 << 26, 300, 5000, 100)
STORE_MEMORY = (0, 300, 100000, 1)
TIMES_MS = (0, 1, 2, 10, 50, 51, 100, 999, 1000, 5000, 10000, 10001, 60000, 61000, 3600000, 86400000)
DATA = (256, 1000, 1024, 2000, 5000, 16300, 16384, 17000, 30000, 39990, 65536, 66000, 100000, 131072, 140000, 200000)
LINES = ("status", "workers", "prioritystatus", "show jobs", "show unique jobs", "counters", "version", "", "maxqueue ",
         "cancel job ", "create function ", "drop function ", "maxqueue f 1 2 3", "verbose", "getpid", "show")  # fmt: skip
FUNCTIONS = ("f", "g", "h", "f g", "", "i", "j\t", "k")
UNIQUES = ("", "u", "-", "v", "w", "", "u", ".")
OPTIONS = ("fastgear/wait", "exceptions", "", "fastgear/")
STATUS = ("0", "1", "50", "1000", "-1", "x", "99999999999", "1000000000001")


class Program:
    def __init__(
        self,
        *,
        timeout_fails: bool = False,
        exceptions: bool = False,
        durable: bool = False,
        job_retries: int = -1,
        worker_wakeup: int = 1,
        max_packet_size: int = 1 << 20,
        max_output: int = 1 << 20,
        max_memory: int = 0,
        max_journal: int = 1 << 26,
        store_memory: int = 0,
        max_queue: int = 0,
        dead_after: int = 0,
        restored: tuple[int, ...] = (),
    ) -> None:
        flags = timeout_fails | exceptions << 1 | durable << 2 | job_retries + 1 << 3 | worker_wakeup - 1 << 5
        self.code = bytearray([
            flags, PACKET_LIMITS.index(max_packet_size), OUTPUT_LIMITS.index(max_output), MEMORY_LIMITS.index(max_memory),
            JOURNAL_LIMITS.index(max_journal), STORE_MEMORY.index(store_memory), max_queue << 3 | dead_after << 5,
        ])  # fmt: skip
        if durable:
            self.code += bytes([len(restored), *restored])

    def step(self, kind: int, slot: int, *more: int) -> Program:
        self.code += bytes([kind, slot, *more])
        return self

    def say(self, slot: int, name: str, *args: int, read: int = ALL, same_turn: bool = False) -> Program:
        """`args` are places in the tables, for handles how many jobs ago, and data_length(bytes) at the end."""
        return self.step(SAY | (GOES_ON if same_turn else 0), slot, read, NUMBERS[name], *args)

    def bytes(self, slot: int, data: bytes, *, read: int = ALL) -> Program:
        for at in range(0, len(data), 255):
            piece = data[at : at + 255]
            self.step(BYTES, slot, read, len(piece), *piece)
        return self

    def line(self, slot: int, text: str, *args: int) -> Program:
        return self.step(LINE, slot, ALL, LINES.index(text), *args)

    def passes(self, ms: int) -> Program:
        return self.step(TIME, 0, TIMES_MS.index(ms))

    def leaves(self, slot: int, how: int = 0) -> Program:
        return self.step(LEAVE, slot, how)

    def stores(self, outcome: int = 0, *, finds: bool = True) -> Program:
        """Takes what there is to be written, and answers in the same step; 4: it fails, 6: there is no room, 7: for good."""
        return self.step(STORE, 0, outcome | (0 if finds else 8))


def size(length: int) -> int:
    """The byte that says how much data there are."""
    return 0xE0 + DATA.index(length) if length in DATA else length << 3
