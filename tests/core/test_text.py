# SPDX-License-Identifier: MIT
"""Text commands: gearmand's replies, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from core.conftest import Talk, memory_ends


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"version", b"OK test\n"),
        (b"verbose", b"OK ERROR\n"),
        (b"getpid", b"OK %d\n" % os.getpid()),
        (b"status", b".\n"),
        (b"STATUS", b".\n"),
        (b"  status  ", b".\n"),
        (b"prioritystatus", b".\n"),
        (b"show jobs", b".\n"),
        (b"show unique jobs", b".\n"),
        (b"show", b"ERR UNKNOWN_COMMAND Unknown+server+commandshow\r\n"),
        (b"show x y", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
        (b"cancel", b"ERR UNKNOWN_COMMAND Unknown+server+commandcancel\r\n"),
        (b"cancel job", b"ERR UNKNOWN_COMMAND Unknown+server+commandcancel\r\n"),
        (b"cancel x y", b"ERR UNKNOWN_ERROR\r\n"),
        (b"cancel job a b", b"ERR UNKNOWN_ERROR\r\n"),
        (b"cancel job H:test:1", b"ERR UNKNOWN_JOB\r\n"),
        (b"create function f", b"OK\r\n"),
        (b"create", b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+create\r\n"),
        (b"drop function f", b"ERR function not found\r\n"),
        (b"drop", b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+drop\r\n"),
        (b"maxqueue", b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+maxqueue\r\n"),
        (b"maxqueue f", b"OK\r\n"),
        (b"maxqueue f 10", b"OK\r\n"),
        (b"maxqueue f 1 2 3", b"OK\r\n"),
        (b"maxqueue f x", b"ERR INVALID_ARGUMENTS A+queue+limit+is+a+number\r\n"),
        (
            b"maxqueue f 1 2",
            b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+maxqueue\r\n",
        ),
        (b"shutdown", b"ERR UNKNOWN_COMMAND Unknown+server+commandshutdown\r\n"),
        (b"", b"ERR UNKNOWN_COMMAND Unknown+server+command\r\n"),
        (b"GET / HTTP/1.1", b"ERR UNKNOWN_COMMAND Unknown+server+commandGET\r\n"),
        (b"a b c d e f g h i j", b"ERR UNKNOWN_COMMAND Unknown+server+commanda\r\n"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_replies(talk: Callable[[], Talk], line: bytes, reply: bytes, end: bytes) -> None:
    assert talk().text(line + end) == reply


def test_lists(talk: Callable[[], Talk]) -> None:
    client, worker = talk(), talk()
    worker.send("SET_CLIENT_ID", b"the worker")
    for name in (b"a", b"b c"):
        worker.send("CAN_DO", name)
    for kind, name in [("SUBMIT_JOB", b"a"), ("SUBMIT_JOB_HIGH_BG", b"a"), ("SUBMIT_JOB_LOW_BG", b"other")]:
        client.say(kind, name, b"u" if name == b"other" else b"", b"x")
    worker.say("GRAB_JOB")
    assert client.text(b"status\n") == b"a\t2\t1\t1\nb c\t0\t0\t1\nother\t1\t0\t0\n.\n"
    assert client.text(b"prioritystatus\n") == b"a\t0\t1\t0\t1\nb c\t0\t0\t0\t1\nother\t0\t0\t1\t0\n.\n"
    assert client.text(b"workers\r\n") == b"0 - - :\n0 - the\\x20worker : b\\x20c a\n.\n"
    assert sorted(client.text(b"show jobs\n").split(b"\n")[:-2]) == [
        b"H:test:1\t0\t0\t0", b"H:test:2\t0\t0\t1", b"H:test:3\t0\t0\t1",
    ]  # fmt: skip
    assert sorted(client.text(b"show unique jobs\n").split(b"\n")[:-2]) == [b"", b"", b"u"]


def test_create_keeps_the_last_letter_with_a_bare_newline_and_drop_minds_case(talk: Callable[[], Talk]) -> None:
    one = talk()
    one.text(b"create function abcd\n")
    assert one.text(b"status\n") == b"abcd\t0\t0\t0\n.\n"
    assert one.text(b"drop function ABCD\n") == b"ERR function not found\r\n"
    one.send("CAN_DO", b"abcd")
    assert one.text(b"drop function abcd\n") == b"ERR there are still connected workers or executing clients\r\n"
    one.send("RESET_ABILITIES")
    assert one.text(b"drop function abcd\n") == b"OK\r\n"
    assert one.text(b"status\n") == b".\n"


def test_many_functions_come_and_go_and_their_ids_are_used_again(talk: Callable[[], Talk]) -> None:
    one, worker = talk(), talk()
    for round_ in range(3):
        for n in range(2000):
            one.text(b"create function f%d-%d\n" % (round_, n))
        worker.send("CAN_DO", b"f%d-1999" % round_)
        one.say("SUBMIT_JOB_BG", b"f%d-1999" % round_, b"", b"x")
        assert worker.say("GRAB_JOB")[0][1][1] == b"f%d-1999" % round_
        worker.leave()
        worker = talk()
        one.text(b"cancel job H:test:%d\n" % (round_ + 1))
        for n in range(2000):
            assert one.text(b"drop function f%d-%d\n" % (round_, n)) == b"OK\r\n"


def test_a_function_takes_the_place_of_a_dropped_one_and_of_no_other(talk: Callable[[], Talk]) -> None:
    one = talk()
    for name in (b"a", b"b", b"c"):
        one.text(b"create function %s\n" % name)
    assert one.text(b"drop function a\n") == b"OK\r\n"
    one.say("SUBMIT_JOB_BG", b"c", b"u", b"x")  # looked for in all functions, past the place that is free
    assert one.say("GET_STATUS_UNIQUE", b"u")[0][1][:2] == (b"u", b"1")
    for name in (b"d", b"e"):
        one.text(b"create function %s\n" % name)
    listed = one.text(b"status\n").splitlines()
    assert [line.split(b"\t")[0] for line in sorted(listed)] == [b".", b"b", b"c", b"d", b"e"]
    assert one.text(b"drop function d\n") == b"OK\r\n"  # the server ends with a place free


@pytest.mark.parametrize("line", [b"create function f\n", b"maxqueue f 10\n"])
def test_where_memory_ends_there_is_no_new_function(talk: Callable[[], Talk], line: bytes) -> None:
    one = talk()
    one.text(b"version\n")
    with memory_ends():
        assert one.text(line) == b"ERR MEMORY_ALLOCATION_FAILURE\r\n"
    assert one.text(b"status\n") == b".\n"


def test_text_and_packets_may_be_mixed(talk: Callable[[], Talk]) -> None:
    one = talk()
    from speak import request, response

    one.core.receive(one.id, b"version\n" + request("ECHO_REQ", b"x") + b"version\r\nver")
    assert one.core.sent(one.id) == b"OK test\n" + response("ECHO_RES", b"x") + b"OK test\n"
    assert one.text(b"sion\n") == b"OK test\n"


def test_a_line_without_an_end_is_answered_and_closed(talk: Callable[[], Talk]) -> None:
    one = talk()
    assert one.text(b"x" * 8191) == b""
    assert one.text(b"x" * 8192).startswith(b"ERR LINE_TOO_LONG ")
    assert one.core.is_closing(one.id)
