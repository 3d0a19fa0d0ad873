# SPDX-License-Identifier: MIT
"""Gearman for tests, written apart from what is tested: requests to bytes, bytes to (type name, arguments)."""

from __future__ import annotations

import struct

NUMBERS = {
    "CAN_DO": 1, "CANT_DO": 2, "RESET_ABILITIES": 3, "PRE_SLEEP": 4, "UNUSED": 5, "NOOP": 6, "SUBMIT_JOB": 7,
    "JOB_CREATED": 8, "GRAB_JOB": 9, "NO_JOB": 10, "JOB_ASSIGN": 11, "WORK_STATUS": 12, "WORK_COMPLETE": 13,
    "WORK_FAIL": 14, "GET_STATUS": 15, "ECHO_REQ": 16, "ECHO_RES": 17, "SUBMIT_JOB_BG": 18, "ERROR": 19,
    "STATUS_RES": 20, "SUBMIT_JOB_HIGH": 21, "SET_CLIENT_ID": 22, "CAN_DO_TIMEOUT": 23, "ALL_YOURS": 24,
    "WORK_EXCEPTION": 25, "OPTION_REQ": 26, "OPTION_RES": 27, "WORK_DATA": 28, "WORK_WARNING": 29,
    "GRAB_JOB_UNIQ": 30, "JOB_ASSIGN_UNIQ": 31, "SUBMIT_JOB_HIGH_BG": 32, "SUBMIT_JOB_LOW": 33,
    "SUBMIT_JOB_LOW_BG": 34, "SUBMIT_JOB_SCHED": 35, "SUBMIT_JOB_EPOCH": 36, "SUBMIT_REDUCE_JOB": 37,
    "SUBMIT_REDUCE_JOB_BACKGROUND": 38, "GRAB_JOB_ALL": 39, "JOB_ASSIGN_ALL": 40, "GET_STATUS_UNIQUE": 41,
    "STATUS_RES_UNIQUE": 42,
}  # fmt: skip
NAMES = {number: name for name, number in NUMBERS.items()}

Packet = tuple[str, tuple[bytes, ...]]


def packet(magic: bytes, name: str | int, *args: bytes) -> bytes:
    body = b"\0".join(args)
    number = name if isinstance(name, int) else NUMBERS[name]
    return magic + struct.pack(">II", number, len(body)) + body


def request(name: str | int, *args: bytes) -> bytes:
    return packet(b"\0REQ", name, *args)


def response(name: str | int, *args: bytes) -> bytes:
    return packet(b"\0RES", name, *args)


_WITH_DATA = {"JOB_ASSIGN": 2, "WORK_COMPLETE": 1, "ECHO_RES": 0, "WORK_EXCEPTION": 1, "WORK_DATA": 1,
              "WORK_WARNING": 1, "JOB_ASSIGN_UNIQ": 3, "JOB_ASSIGN_ALL": 4,
              "SUBMIT_JOB": 2, "SUBMIT_JOB_BG": 2, "ECHO_REQ": 0}  # fmt: skip


def cut(data: bytes, magic: bytes = b"\0RES") -> tuple[list[Packet], bytes]:
    """The whole packets of a server at the front of data, and what is left."""
    packets: list[Packet] = []
    while len(data) >= 12:
        found, number, size = struct.unpack(">4sII", data[:12])
        assert found == magic, data[:40]
        if len(data) < 12 + size:
            break
        name, body = NAMES[number], data[12 : 12 + size]
        splits = _WITH_DATA.get(name, -1)
        parts = body.split(b"\0", splits) if splits else [body]
        packets.append((name, tuple(parts) if size or len(parts) > 1 else ()))
        data = data[12 + size :]
    return packets, data


def packets(data: bytes) -> list[Packet]:
    """Nothing but whole packets."""
    found, rest = cut(data)
    assert not rest, rest
    return found
