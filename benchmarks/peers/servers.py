# SPDX-License-Identifier: MIT
"""The job servers that are compared: how each is found, started on a free port, waited for, and stopped."""

from __future__ import annotations

import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fastgear.version import VERSION

__all__ = [
    "GEARMAND",
    "PEERS",
    "Command",
    "DidNotComeUp",
    "Peer",
    "fastgear_command",
    "free_port",
    "gearmand_command",
    "running",
    "said_by",
]

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build"
ROOFLINE = BUILD / "roofline"
PERL_ROOT = BUILD / "peers"  # where `make compare` unpacks Debian's package
UP_S = 20
STOP_S = 2

Command = Callable[[int], list[str]]


@dataclass(frozen=True)
class Peer:
    name: str
    version: Callable[[], str]  # empty when it is missing
    command: Command
    missing: str  # what to do about it


def said_by(command: list[str]) -> str:
    """Its output; empty when it cannot be run, or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# -- fastgear and the roofline


def fastgear_version() -> str:
    return f"fastgear {VERSION} on Python {platform.python_version()}"


def fastgear_command(port: int) -> list[str]:
    return [sys.executable, "-m", "fastgear", "serve", "--listen", f"127.0.0.1:{port}"]


def roofline_version() -> str:
    """Compiled, if that is due."""
    source = HERE.parent / "roofline.c"
    if not ROOFLINE.exists() or ROOFLINE.stat().st_mtime < source.stat().st_mtime:
        ROOFLINE.parent.mkdir(exist_ok=True)
        compiler = os.environ.get("CC", "cc")
        try:
            subprocess.run([compiler, "-O2", "-o", str(ROOFLINE), str(source)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return ""
    return "the roofline, benchmarks/roofline.c"


def roofline_command(port: int) -> list[str]:
    return [str(ROOFLINE), str(port)]


# -- gearmand: Perl's server may have the same name


def find_gearmand() -> str | None:
    for folder in ("/usr/sbin", "/usr/local/sbin", *os.environ.get("PATH", "").split(os.pathsep)):
        found = shutil.which("gearmand", path=folder)
        if found and said_by([found, "--version"]).startswith("gearmand "):
            return found
    return None


GEARMAND = find_gearmand()
TUNED = ("--worker-wakeup=1", "--hashtable-buckets=1000003", "--backlog=1024")


def gearmand_version() -> str:
    return said_by([GEARMAND, "--version"]).partition(" - ")[0] if GEARMAND else ""


def gearmand_command(port: int) -> list[str]:
    return [str(GEARMAND), "-p", str(port), "-L", "127.0.0.1", "-l", "stderr"]


def gearmand_with(*words: str) -> Command:
    return lambda port: [*gearmand_command(port), *words]


# -- Perl's Gearman::Server


def perl(program: str) -> list[str]:
    folders = [PERL_ROOT / "usr/share/perl5", *PERL_ROOT.glob("usr/lib/*/perl5/*")]
    return [
        "perl",
        *(f"-I{folder}" for folder in folders if folder.is_dir()),
        "-MIO::Socket::INET",
        "-MGearman::Util",
        "-MGearman::Server",
        "-e",
        program,
    ]


def perl_version() -> str:
    version = said_by(perl("print $Gearman::Server::VERSION"))
    return version and f"Perl's Gearman::Server {version.removeprefix('v')}"


def perl_command(port: int) -> list[str]:
    """What its gearmand does."""
    listening = f'my $listening = $server->create_listening_sock({port}, local_addr => "127.0.0.1")'
    return perl(f'$SIG{{PIPE}} = "IGNORE"; my $server = Gearman::Server->new; {listening}; Danga::Socket->EventLoop')


# -- Python's gear


def gear_version() -> str:
    try:
        return f"Python's gear {metadata.version('gear')}"
    except metadata.PackageNotFoundError:
        return ""


def gear_command(port: int) -> list[str]:
    return [sys.executable, str(HERE / "gear_server.py"), str(port)]


NO_GEARMAND = "Debian: apt-get install gearman-job-server"
NO_PERL = "make compare unpacks Debian's gearman-server; its libgearman-client-perl has to be installed"

PEERS = (
    Peer("fastgear", fastgear_version, fastgear_command, ""),
    Peer("roofline", roofline_version, roofline_command, "it needs a C compiler, cc or $CC"),
    Peer("gearmand", gearmand_version, gearmand_with(), NO_GEARMAND),
    Peer("gearmand tuned", gearmand_version, gearmand_with("-t", "4", *TUNED), NO_GEARMAND),
    Peer("gearmand tuned -t 1", gearmand_version, gearmand_with("-t", "1", *TUNED), NO_GEARMAND),
    Peer("Gearman::Server", perl_version, perl_command, NO_PERL),
    Peer("gear", gear_version, gear_command, "pip install gear"),
)


# -- a process


def free_port() -> int:
    """None of those that the system gives to connections: who tries one of them until a server is up may connect to itself."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class DidNotComeUp(SystemExit):
    """The end of a program that does not expect it."""


@contextmanager
def running(command: Command, folder: Path) -> Iterator[tuple[int, int]]:
    """A server process, up and listening: its pid and port."""
    port = free_port()
    with (
        open(folder / "server.log", "w") as log,
        subprocess.Popen(command(port), stdout=log, stderr=log, cwd=folder) as process,
    ):
        try:
            wait_until_up(process, port)
            yield process.pid, port
        finally:
            stop(process)


def wait_until_up(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + UP_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as sock:
                sock.sendall(b"status\n")  # gear does not answer to version
                if sock.recv(100):
                    return
        except OSError:
            time.sleep(0.01)
    raise DidNotComeUp(f"{process.args!r} did not come up")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Not all servers end at SIGTERM while they are busy."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
