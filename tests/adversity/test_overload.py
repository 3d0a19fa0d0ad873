# SPDX-License-Identifier: MIT
"""More than can be done: benchmarks/overload.py, briefly, and a load that is refused.

The limits of time are loose here, those of what may be lost are not.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from benches import run_bench
from servers import run_server
from serving import Peer, until
from speak import request

from fastgear import Server, ServerConfig
from fastgear.addresses import Address
from fastgear.bench.connections import connect_many
from fastgear.bench.handles import Handles
from fastgear.bench.load import Load

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="it starts the server itself")

MIB = 1 << 20
LOOSE = ("--share", "0.01", "--most-ms", "2000")


@pytest.mark.alone("throughputs are compared")
def test_more_than_can_be_done(tmp_path: Path) -> None:
    words = ("--seconds", "2", "--connections", "300", "--max-memory", "2", "--times", "4")
    code, output = run_bench("overload.py", *words, *LOOSE, "--save", f"{tmp_path}/saved.json")
    assert code == 0 and "all conditions are met" in output, output
    saved = json.loads((tmp_path / "saved.json").read_text())
    assert list(saved["results"]) == ["foreground", "background"] and saved["not met"] == []
    for one in saved["results"].values():
        assert one["acknowledged"] > 0 == one["lost"] and one["asked"] >= 3
    assert saved["results"]["foreground"]["refused"] == 0
    assert 0 < saved["results"]["background"]["memory"] <= 2 * MIB + 1024


@pytest.mark.alone("throughputs are compared")
def test_what_is_not_met_is_said() -> None:
    words = ("--seconds", "0.3", "--connections", "20", "--only", "foreground", "--share", "99", "--most-ms", "0.001")
    code, output = run_bench("overload.py", *words)
    assert code == 1
    assert "not met: foreground: " in output and "of what can be done was done, and not 9,900%" in output
    assert "a control command took" in output


def read_packets_total(talker: Peer) -> int:
    """By the text command `counters`, when its answer comes."""
    reply = b""
    while not reply.endswith(b"\n.\n"):
        reply += talker.socket.recv(1 << 16)
    counters = dict(line.split(b"\t") for line in reply.splitlines() if b"\t" in line)
    return int(counters[b"packets_total"])


@pytest.mark.parametrize("talkers", [1, 10])
def test_who_asks_in_text_does_not_wait_for_thousands_of_others(tmp_path: Path, talkers: int) -> None:
    """They all have something to say before the server can look, and who asks in text comes last. There may be more of those
    than are heard in a turn of 64 connections."""
    with run_server("fastgear", tmp_path) as server, ExitStack() as stack:
        assert server.pid is not None
        asking = [stack.enter_context(Peer(server.address)) for _ in range(talkers)]
        others = [stack.enter_context(Peer(server.address)) for _ in range(700)]
        for talker in asking:
            talker.socket.sendall(b"counters\n")
            before = read_packets_total(talker)
        os.kill(server.pid, signal.SIGSTOP)
        until(lambda: psutil.Process(server.pid).status() == psutil.STATUS_STOPPED, "the stop")
        try:
            for other in others:
                other.socket.sendall(request("ECHO_REQ", b"x"))
            for talker in asking:
                talker.socket.sendall(b"counters\n")
        finally:
            os.kill(server.pid, signal.SIGCONT)
        answered = [read_packets_total(talker) - before for talker in asking]
        assert max(answered) <= 64 * (2 + talkers // 4) + talkers, "a turn may have been under way when it was stopped"
        for other in others:
            assert other.receive() == ("ECHO_RES", (b"x",))


def test_what_is_refused_is_told_and_what_is_acknowledged_is_run() -> None:
    """Without workers the memory of a server is full soon; with some, all that it has acknowledged is given out once."""
    with Server("127.0.0.1:0", config=ServerConfig(max_memory=MIB)) as server, ExitStack() as stack:
        sockets = connect_many(Address.parse(server.address), 12, 5.0, stack)
        fds, handles = [sock.fileno() for sock in sockets], Handles()
        common = {"payload": 1000, "result": 1000, "kinds": (0, 1, 0), "handles": handles}
        fill = stack.enter_context(
            Load("here", [b"f"], clients=fds[:10], pipeline=10, refusable=True, **common)  # type: ignore[arg-type]
        )
        fill.begin(5000)
        while not fill.run(1.0):
            pass
        counts = fill.counts
        assert counts["refused"] > 3000 and counts["acknowledged"] > 500
        assert counts["acknowledged"] + counts["refused"] == counts["sent"] == 5000
        now = server.snapshot().counters
        assert now["refused_total"] == counts["refused"] and 0.9 * MIB < now["memory_bytes"] <= MIB + 2048
        take = stack.enter_context(
            Load("here", [b"f"], workers=fds[10:], grabs=8, taking=True, **common)  # type: ignore[arg-type]
        )
        take.begin(counts["acknowledged"], 20.0)
        while not take.run(1.0):
            pass
        assert take.counts["assigned"] == counts["acknowledged"] and len(handles) == 0
