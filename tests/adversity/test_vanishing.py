# SPDX-License-Identifier: MIT
"""A machine that vanishes without a word: two network namespaces, and a link that goes down. Needs root and ip."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import need
from speak import cut, request

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand would take hours")

SERVER = ("10.213.7.1", 4730)
SERVE = [sys.executable, "-m", "fastgear", "serve", "--listen", "10.213.7.1:4730"]
TIMES = ["--user-timeout", "2", "--keepalive-idle", "1", "--keepalive-interval", "1", "--keepalive-count", "2"]

# Speaks the words of its command line, says "said" when they are answered, and stays.
PEER = """
import socket, sys, time
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
sock.sendall(bytes.fromhex(sys.argv[3]))
sock.recv(1000)
print("said", flush=True)
time.sleep(60)
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Machines:
    """Two, as far as the network can tell, and a cable between them."""

    def __init__(self) -> None:
        self.near, self.far = f"fgnear{os.getpid()}", f"fgfar{os.getpid()}"
        for name in (self.near, self.far):
            ip("netns", "add", name)
        ip("-n", self.near, "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", self.far)
        for name, link, address in ((self.near, "near", "10.213.7.1/24"), (self.far, "far", "10.213.7.2/24")):
            ip("-n", name, "addr", "add", address, "dev", link)
            ip("-n", name, "link", "set", link, "up")

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Away from the sources, so that what was built is what runs."""
        return subprocess.Popen(["ip", "netns", "exec", name, *command], stdout=subprocess.PIPE, cwd="/")

    def cut_the_cable(self) -> None:
        ip("-n", self.far, "link", "set", "far", "down")

    def remove(self) -> None:
        for name in (self.near, self.far):
            ip("netns", "del", name)


@pytest.fixture
def machines() -> Iterator[Machines]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("ip") is None:
        need("ip", "iproute2")
    made = Machines()
    yield made
    made.remove()


@pytest.fixture
def here(machines: Machines, tmp_path: Path) -> Iterator[socket.socket]:
    """A connection to the server on the near machine, by its Unix socket: those are the same everywhere."""
    path = str(tmp_path / "server")
    with machines.start(machines.near, *SERVE, "--listen", f"unix:{path}", *TIMES) as server:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            deadline = time.monotonic() + 10
            while sock.connect_ex(path) != 0:
                assert time.monotonic() < deadline and server.poll() is None
                time.sleep(0.05)
            yield sock
        server.terminate()


def grab(here: socket.socket, function: bytes) -> bytes:
    """The handle of a job of that function, waiting for one, but not for ever."""
    deadline = time.monotonic() + 20
    here.sendall(request("RESET_ABILITIES") + request("CAN_DO", function))
    while time.monotonic() < deadline:
        here.sendall(request("GRAB_JOB"))
        ((name, args),) = cut(here.recv(1000))[0]
        if name == "JOB_ASSIGN":
            return args[0]
        time.sleep(0.05)
    pytest.fail("the job stayed with a machine that is gone")


@pytest.mark.parametrize("silent", [True, False], ids=["nothing was sent", "something was sent"])
def test_the_job_of_a_machine_that_vanished_is_given_to_another(
    machines: Machines, here: socket.socket, silent: bool
) -> None:
    """Keepalive finds it where nothing is under way, and unacknowledged bytes where something is."""
    here.sendall(request("SUBMIT_JOB_BG", b"f", b"", b"x"))
    assert cut(here.recv(1000))[0][0][0] == "JOB_CREATED"
    words = request("CAN_DO", b"f") + request("GRAB_JOB") + request("SUBMIT_JOB", b"g", b"", b"y")
    command = [sys.executable, "-c", PEER, SERVER[0], str(SERVER[1]), words.hex()]
    with machines.start(machines.far, *command) as far:
        try:
            assert far.stdout is not None and far.stdout.readline() == b"said\n"
            machines.cut_the_cable()
            start = time.monotonic()
            if not silent:
                here.sendall(request("WORK_COMPLETE", grab(here, b"g"), b"for nobody"))
            grab(here, b"f")
            assert 1 < time.monotonic() - start < 6
        finally:
            far.kill()
