# SPDX-License-Identifier: MIT
"""seeds.py: write the programs and bytes that the fuzzers begin with to tests/fuzz/corpus.

Recorded sessions are the transcripts of tests/wire, played by a core that takes down who said what.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from ext.build import load_driver
from fuzz.language import LOCAL, READS, TAKE, Program, size
from speak import NUMBERS, packet
from wire.test_transcripts import CoreWire
from wire.transcript import TRANSCRIPTS, Player, parse

CORPUS = Path(__file__).parent / "corpus"


class RecordingWire(CoreWire):
    def __init__(self, core: Any) -> None:
        super().__init__(core)
        self.program = Program()
        self.slots: dict[str, int] = {}

    def slot(self, who: str) -> int:
        return self.slots.setdefault(who, len(self.slots) % 6)

    def send(self, who: str, pieces: list[bytes]) -> None:
        self.program.bytes(self.slot(who), b"".join(pieces))
        super().send(who, pieces)

    def leave(self, who: str) -> None:
        self.program.leaves(self.slot(who))
        super().leave(who)


def recorded() -> dict[str, bytes]:
    found = {}
    for path in TRANSCRIPTS:
        core = load_driver("core").Core(prefix=b"H:lap:")
        wire = RecordingWire(core)
        Player(parse(path), wire, lambda data: [data]).play()
        core.close()
        found[path.stem] = bytes(wire.program.code)
    return found


def written() -> dict[str, bytes]:
    """What the transcripts do not have: back-pressure, stores, grabs that wait, time."""
    programs = {
        "a_job": Program()
        .say(0, "CAN_DO", 0)
        .say(0, "PRE_SLEEP")
        .say(1, "SUBMIT_JOB", 0, 1, size(5))
        .say(0, "GRAB_JOB_UNIQ")
        .say(0, "WORK_STATUS", 0, 1, 2)
        .say(0, "WORK_DATA", 0, size(3))
        .say(0, "WORK_COMPLETE", 0, size(9)),
        "grabs_that_wait": Program()
        .say(0, "OPTION_REQ", 0)
        .say(0, "CAN_DO", 0)
        .say(0, "GRAB_JOB")
        .say(0, "GRAB_JOB")
        .say(1, "SUBMIT_JOB", 0, 0, size(1))
        .say(0, "WORK_COMPLETE", 0, size(1))
        .say(1, "SUBMIT_JOB_BG", 0, 0, size(1)),
        "stored": Program(durable=True)
        .say(0, "SUBMIT_JOB_BG", 0, 1, size(5))
        .stores()
        .say(1, "CAN_DO", 0)
        .say(1, "GRAB_JOB_ALL")
        .say(1, "WORK_COMPLETE", 0, size(2))
        .stores(),
        "a_store_in_trouble": Program(durable=True)
        .say(0, "SUBMIT_JOB_BG", 0, 1, size(5))
        .stores(4)
        .say(0, "SUBMIT_JOB_BG", 0, 2, size(5))
        .stores(6)
        .stores()
        .say(0, "SUBMIT_JOB_EPOCH", 0, 0, 3, size(1))
        .stores(7),
        "workloads_away": Program(durable=True, store_memory=300, restored=(20, 92))
        .say(0, "SUBMIT_JOB_BG", 0, 1, size(1000))
        .stores()
        .say(1, "CAN_DO", 0)
        .say(1, "GRAB_JOB")
        .say(1, "GRAB_JOB")
        .stores()
        .stores()
        .say(1, "WORK_FAIL", 0)
        .stores(),
        "held_for_the_store": Program(durable=True, max_journal=100)
        .say(0, "SUBMIT_JOB_BG", 0, 1, size(9))
        .say(0, "SUBMIT_JOB_BG", 1, 2, size(9))
        .say(0, "SUBMIT_JOB_BG", 2, 3, size(9))
        .stores()
        .stores(),
        "who_does_not_read": Program(max_output=2048)
        .step(READS, 1)
        .say(1, "SUBMIT_JOB", 0, 1, size(1))
        .say(1, "SUBMIT_JOB", 0, 3, size(1))
        .say(0, "CAN_DO", 0)
        .say(0, "GRAB_JOB")
        .say(0, "GRAB_JOB")
        .say(0, "WORK_COMPLETE", 1, size(2000))
        .say(0, "WORK_DATA", 0, size(1000))
        .say(0, "WORK_COMPLETE", 0, size(2))
        .step(TAKE, 1, 40, 40)
        .passes(10001),
        "large": Program()
        .say(0, "SUBMIT_JOB", 0, 1, size(140000), read=6)
        .step(3, 0, 7)
        .step(3, 0, 7)
        .step(3, 0, 0)
        .say(1, "CAN_DO", 0)
        .say(1, "GRAB_JOB")
        .say(1, "WORK_COMPLETE", 0, size(66000), read=6)
        .leaves(1, 1)
        .step(3, 1, 0),
        "local": Program()
        .say(0 | LOCAL, "CAN_DO", 0)
        .say(0, "PRE_SLEEP")
        .say(1 | LOCAL, "SUBMIT_JOB", 0, 0, size(30000), read=6)
        .say(1, "ECHO_REQ", size(17000), read=7)
        .say(0, "GRAB_JOB")
        .say(0, "WORK_EXCEPTION", 0, size(3))
        .leaves(1),
        "timeouts": Program(job_retries=1, timeout_fails=True)
        .say(0, "CAN_DO_TIMEOUT", 0, 2)
        .say(1, "SUBMIT_JOB", 0, 1, size(1))
        .say(0, "GRAB_JOB")
        .passes(51)
        .say(0, "WORK_COMPLETE", 0, size(1)),
        "another_day": Program()
        .say(1, "SUBMIT_JOB_EPOCH", 0, 1, 60, size(1))
        .say(1, "SUBMIT_JOB_SCHED", 1, 2, 0, 0, 3, 4, 0, size(1))
        .say(0, "CAN_DO", 0)
        .say(0, "PRE_SLEEP")
        .passes(61000)
        .say(0, "GRAB_JOB"),
        "halves": Program().bytes(0, b"\0REQ\0\0").passes(60000).bytes(1, b"stat").passes(61000),
        "reduce": Program().say(0, "SUBMIT_REDUCE_JOB", 0, 1, 1, 2, size(2)).say(1, "CAN_DO", 0).say(1, "GRAB_JOB_ALL"),
        "listings": Program()
        .say(0, "SET_CLIENT_ID", 9)
        .say(0, "CAN_DO", 3)
        .say(1, "SUBMIT_JOB_LOW_BG", 3, 7, size(1))
        .line(1, "status")
        .line(1, "workers")
        .line(1, "show jobs")
        .line(1, "show unique jobs")
        .line(1, "prioritystatus")
        .line(1, "counters")
        .line(1, "maxqueue ", 3)
        .line(1, "cancel job ", 0)
        .line(0, "drop function ", 3),
        "no_memory": Program().say(0, "CAN_DO", 0).step(9, 0, 3).say(1, "SUBMIT_JOB", 0, 1, size(1)).say(0, "GRAB_JOB"),
        "lost": Program(job_retries=2)
        .say(0, "CAN_DO", 0)
        .say(0, "GRAB_JOB")
        .say(1, "SUBMIT_JOB", 0, 1, size(1))
        .say(0, "GRAB_JOB")
        .leaves(0)
        .say(2, "CAN_DO", 0)
        .say(2, "GRAB_JOB")
        .leaves(2, 2)
        .say(3, "GET_STATUS", 0)
        .say(3, "GET_STATUS_UNIQUE", 1),
    }
    return {name: bytes(program.code) for name, program in programs.items()}


def packets() -> dict[str, bytes]:
    """One of every type, well formed."""
    from fastgear.protocol.packet import PACKETS

    found = {
        facts.name: packet(b"\0REQ", facts.number, *[b"1"] * (len(facts.args) + facts.has_data)) for facts in PACKETS
    }
    return found | {"a_line": b"show unique jobs\r\n", "a_schedule": b"\x011\x012\x013\x014\x015\x00\x40\x50\x60"}


def answers() -> dict[str, bytes]:
    """What a server says to the session of doors.py."""
    created = [packet(b"\0RES", "JOB_CREATED", b"H:lap:%d" % number) for number in (1, 2, 3)]
    status = packet(b"\0RES", "STATUS_RES", b"H:lap:1", b"1", b"1", b"3", b"10")
    both = packet(b"\0RES", "ECHO_RES", b"x") + packet(
        b"\0RES", "STATUS_RES_UNIQUE", b"u", b"1", b"0", b"1", b"2", b"3"
    )
    ends = [
        packet(b"\0RES", name, b"H:lap:%d" % number, *more)
        for name, number, *more in (
            ("WORK_DATA", 1, b"some"),
            ("WORK_STATUS", 1, b"1", b"2"),
            ("WORK_WARNING", 1, b"!"),
            ("WORK_COMPLETE", 1, b"all"),
            ("WORK_EXCEPTION", 2, b"why"),
            ("WORK_FAIL", 2),
        )
    ]
    error = packet(b"\0RES", "ERROR", b"QUEUE_ERROR", b"Job queue is full")
    return {
        "well": b"".join(created) + status + both + b"".join(ends),
        "refused": created[0] + error + created[1] + error + both + ends[3] + ends[5],
        "joined": created[0] + created[0] + ends[0] + ends[0] + ends[3] + ends[3],
        "out_of_order": status + created[0],
    }


def assignments() -> dict[str, bytes]:
    job = packet(b"\0RES", "JOB_ASSIGN_UNIQ", b"H:lap:1", b"f", b"u", b"workload")
    none, wake = packet(b"\0RES", "NO_JOB"), packet(b"\0RES", "NOOP")
    error = packet(b"\0RES", "ERROR", b"JOB_NOT_FOUND", b"Job given in work result not found")
    return {
        "jobs": job * 3,
        "idle": none + wake + job + none + wake,
        "refused": job + error + none,
        "echo": packet(b"\0RES", "ECHO_RES", b""),
    }


def replies() -> dict[str, bytes]:
    lines = {
        "status": b"f\t2\t1\t1\n.\n",
        "priority": b"f\t1\t0\t2\t1\n.\n",
        "workers": b"30 127.0.0.1 - : f g\n31 unix me :\n.\n",
        "jobs": b"H:lap:1\t0\t0\t1\n.\n",
        "uniques": b"a\\x20b\n.\n",
        "ok": b"OK 12\n",
        "error": b"ERR UNKNOWN_JOB\r\n",
    }
    return lines | {"digits": "f\t²\t1\t1\n.\n".encode()}


def files() -> dict[str, bytes]:
    return {
        "toml": b'# a comment\nlisten = ["127.0.0.1:4730", "unix:/run/x"]\nmax-queue = 10\nexceptions = true\nrescue-ms = 0x10\n',
        "words": b"--listen 127.0.0.1\n-j 3 # twice\n--verbose INFO\n--threads=4\n",
        "tables": b"[a]\nb = 1\n[[c]]\n'd' = {e = [1.5, 2020-01-01]}\n",
        "wrong": b"max-queu = 10\njob-retries = -2\n",
    }


def texts_of_values() -> dict[str, bytes]:
    return {
        f"{number}": bytes([number]) + text
        for number, text in enumerate(
            [b"127.0.0.1:4730,[::1]:1", b"10", b"H:", b"-1", b"fail", b"2", b"50", b"yes", b"1e9", b"unix:@a", b"nan"]
        )
    }


def results() -> dict[str, bytes]:
    """Records, each with a letter; and frames of them for `traffic`: which answer, how long, and what."""
    from fastgear.pool.frame import TRAILER
    from fastgear.pool.values import pack_values

    plain = pack_values([1, -1, 2.5, None, True, "text", b"bytes"])
    assert plain is not None
    return {"plain": plain, "failure": b"X\3\0\0\0abc", "cut": plain[:-3]} | {
        f"frame_{number}": bytes([kind, len(body)]) + body
        for number, (kind, body) in enumerate(
            [
                (1, plain[:9] + TRAILER.pack(1000, 0)),
                (4, plain[:27] + (1 << 20 | 3).to_bytes(8, "little") + TRAILER.pack(5, 1)),
                (2, b""),
                (0, plain[:9]),
                (1, b"cut"),
            ]
        )
    }


def dictionary() -> str:
    """For -dict=: the header of every type, and what steps begin with."""
    lines = [f'"\\x00REQ\\x00\\x00\\x00\\x{number:02x}"' for number in NUMBERS.values()]
    lines += [f'"\\x00\\x{slot:02x}\\x00\\x{number:02x}"' for number in NUMBERS.values() for slot in (0, 1)]
    lines += [f'"H:lap:{number}"' for number in (1, 2)] + ['"fastgear/wait"', '"exceptions"', '"show unique jobs\\x0a"']
    return "\n".join(lines) + "\n"


def main() -> None:
    for target, seeds in {
        "play": recorded() | written(),
        "parse": packets(),
        "packets": answers() | {"all": b"".join(packets().values())},
        "client": answers(),
        "worker": assignments(),
        "texts": replies(),
        "config": files(),
        "values": texts_of_values(),
        "records": results(),
        "traffic": results(),
        "frames": {"half": b"\x20"},
    }.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (folder / name).write_bytes(data)
    (Path(__file__).parent / "words.dict").write_text(dictionary())


if __name__ == "__main__":
    main()
