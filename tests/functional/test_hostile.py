# SPDX-License-Identifier: MIT
"""The hostile requests of tests/hostile/table.py against `fastgear serve`, and thousands of connections at once.

`tests/hostile/compare.py` sends the same to gearmand, which may not survive it.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from hostile.attack import Bystanders, begin
from hostile.table import REQUESTS
from servers import RunningServer, run_server
from speak import request, response

pytestmark = pytest.mark.skipif(
    "config.getoption('--server') != 'fastgear'", reason="tests/hostile/compare.py asks gearmand"
)

CONNECTIONS = 2000


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that waits a second for the rest of a packet."""
    with run_server("fastgear", tmp_path, "--input-timeout", "1") as running:
        yield running


def test_every_hostile_request_is_answered_and_harms_nobody(impatient: RunningServer) -> None:
    address = (impatient.host, impatient.port)
    bystanders = Bystanders(address)
    wrong = []
    halves = [begin(address, one, bystanders.handle) for one in REQUESTS if one.half]
    for one in REQUESTS:
        if not one.half:
            said = begin(address, one, bystanders.handle).wait(5)
            if said != one.gets:
                wrong.append((one.family, one.name, one.gets, said))
            assert bystanders.are_served(), (one.family, one.name)
    for attack in halves:
        said = attack.wait(10)
        if said != attack.one.gets:
            wrong.append((attack.one.family, attack.one.name, attack.one.gets, said))
    assert bystanders.finish()
    bystanders.close()
    assert not wrong
    assert len(halves) > 40


@pytest.fixture
def descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < CONNECTIONS + 200:
        pytest.skip(f"this system allows {before[1]} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], CONNECTIONS + 200), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.alone("a second or less is measured")
@pytest.mark.usefixtures("descriptors")
def test_thousands_of_half_packets_cost_little_and_end(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(run_server("fastgear", tmp_path, "--input-timeout", "3"))
        address = (server.host, server.port)
        bystanders = Bystanders(address)
        before = psutil.Process(server.pid).memory_info().rss
        half = request("SUBMIT_JOB_BG", b"f", b"", b"x" * 1_000_000)[:1000]
        socks = [stack.enter_context(socket.create_connection(address, 5)) for _ in range(CONNECTIONS)]
        for sock in socks[::2]:
            sock.sendall(half)
        start = time.monotonic()
        assert bystanders.are_served()
        assert time.monotonic() - start < 1
        if os.environ.get("FASTGEAR_ASAN") != "1":  # which pads every allocation
            assert psutil.Process(server.pid).memory_info().rss - before < CONNECTIONS * 10_000
        for sock in socks[::2]:
            data = sock.recv(1000)
            while part := sock.recv(1000):
                data += part
            assert b"TIMEOUT" in data
        for sock in socks[1::2]:  # these are idle, and stay
            sock.sendall(request("ECHO_REQ", b"here"))
            assert sock.recv(1000) == response("ECHO_RES", b"here")
        assert bystanders.finish()
        bystanders.close()
