# SPDX-License-Identifier: MIT
"""The blocking client and worker while signals rain, while calls take a byte each, and while every n-th call of theirs fails."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adversity.faults import Faults, compiled
from adversity.stormy import BACKGROUND, FOREGROUND, MANY

from fastgear import Server

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="it is about fastgear's client")

HERE = Path(__file__).parent


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[Faults]:
    made = Faults(compiled(tmp_path), tmp_path)
    yield made
    made.close()


def start(role: str, address: str, faults: Faults) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "stormy.py"), role, address]
    return subprocess.Popen(command, env=faults.environment, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    try:
        output = process.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        pytest.fail(f"{process.args} does not end")
    assert process.returncode == 0
    answer: dict[str, Any] = json.loads(output)
    return answer


def storm(address: str, faults: Faults) -> tuple[dict[str, Any], dict[str, Any]]:
    """What client and worker say in the end; each job was done with the right result, or the client would have raised."""
    worker, client = start("worker", address, faults), start("client", address, faults)
    try:
        asked, done = ended(client), ended(worker)
    finally:
        for process in (worker, client):
            if process.poll() is None:
                process.kill()
                process.communicate()
    wanted = [f"{number:08d} " for number in range(FOREGROUND)]
    wanted += [f"{number:08d}m" for number in range(MANY)] + [f"{number:08d}b" for number in range(BACKGROUND)]
    assert set(done["ran"]) == set(wanted)
    return asked, done


@pytest.fixture(params=["tcp", "unix"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with Server("127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/server") as running:
        yield running


def test_nothing_is_lost_in_a_storm_of_signals(server: Server, faults: Faults) -> None:
    asked, done = storm(server.address, faults)
    assert asked["signals"] > 5 and done["signals"] > 5
    assert sum(done["ran"].values()) == FOREGROUND + MANY + BACKGROUND, "and nothing was done twice"


@pytest.mark.parametrize("most", [1, 13])
def test_nothing_is_lost_when_calls_take_few_bytes_in_a_storm(most: int, server: Server, faults: Faults) -> None:
    faults.shorten(most, everyone=True)
    asked, done = storm(server.address, faults)
    assert asked["signals"] > 5 and done["signals"] > 5
    assert sum(done["ran"].values()) == FOREGROUND + MANY + BACKGROUND


@pytest.mark.parametrize("kind", ["recv", "send"])
@pytest.mark.parametrize("error", [errno.EINTR, errno.EAGAIN, errno.ECONNRESET, errno.ENOMEM], ids=errno.errorcode.get)
def test_calls_of_client_and_worker_fail(kind: str, error: int, faults: Faults) -> None:
    """Four in a row, of whoever makes them."""
    with Server("127.0.0.1:0") as server:
        for nth in (1, 100):
            faults.begin(kind, error, nth, times=4, everyone=True)
            storm(server.address, faults)
            assert faults.failed == 4
