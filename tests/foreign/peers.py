# SPDX-License-Identifier: MIT
"""Who talks to whom: the clients and workers, how each is started, and what each cannot do, with the reason.

Data only; `features` says what is tried, `stage` runs it.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

__all__ = ["AS_FAILURE", "CANNOT", "CLIENT", "PEERS", "WORKER", "Peer", "can"]

DRIVERS = Path(__file__).parent / "drivers"
CLIENT, WORKER = "client", "worker"
FUNCTIONS = {"shift", "pieces", "warn", "progress", "fail", "raise", "hold", "unique"}  # lines.md says what they do


@dataclass(frozen=True)
class Peer:
    """A library, or a tool, that is a client as well as a worker."""

    name: str
    title: str
    command: tuple[str, ...]
    package: str
    install: str = "Debian: apt-get install"
    module: str = ""  # of Python, that its driver imports
    lacks: frozenset[str] = frozenset()  # functions that its worker does not offer

    def may_be_there(self) -> bool:
        """What its driver is run with is there; whether the library is too, the drivers in PHP and Perl say themselves."""
        return shutil.which(self.command[0]) is not None and (not self.module or find_spec(self.module) is not None)

    @property
    def functions(self) -> set[str]:
        """The names that its worker registers."""
        return {f"{self.name}-{function}" for function in FUNCTIONS - self.lacks}


_PIP = "pip install"


def _python(script: str) -> tuple[str, ...]:
    return (sys.executable, str(DRIVERS / script))


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "tool",
            "libgearman's `gearman`",
            _python("with_tool.py"),
            "gearman-tools",
            lacks=frozenset({"warn", "progress", "raise", "unique"}),
        ),
        Peer(
            "php",
            "php-gearman",
            ("php", "-d", "display_errors=stderr", str(DRIVERS / "with_php.php")),
            "php-cli php-gearman",
        ),
        Peer(
            "perl",
            "Perl's Gearman::Client and Gearman::Worker",
            ("perl", str(DRIVERS / "with_perl.pl")),
            "libgearman-client-perl",
            lacks=frozenset({"unique"}),
        ),
        Peer("gear", "gear (Python)", _python("with_gear.py"), "gear", _PIP, "gear"),
        Peer("pygearman", "pygearman (Python)", _python("with_pygearman.py"), "pygearman", _PIP, "gearman"),
        Peer("fastgear", "fastgear", _python("with_fastgear.py"), "fastgear", _PIP),
    )
}

_TOOL_WORKS = "all that its command can say is its output and its exit status"

# (peer, role): feature: why not
CANNOT: dict[tuple[str, str], dict[str, str]] = {
    ("tool", CLIENT): {"status asked": "has no option that asks for the status of a job"},
    ("tool", WORKER): {
        "status seen": _TOOL_WORKS,
        "warning": _TOOL_WORKS,
        "exception": _TOOL_WORKS,
        "unique seen": "does not tell its command the unique",
    },
    ("php", CLIENT): {"empty": "libgearman refuses an empty workload here"},
    ("perl", WORKER): {"unique seen": "sends GRAB_JOB, whose answer has no unique"},
}

# Clients that do not ask for exceptions: the server tells them of a failure instead.
AS_FAILURE = {
    "tool": "does not ask for exceptions, and gets WORK_FAIL",
    "pygearman": "does not ask for exceptions, and gets WORK_FAIL",
}


def can(client: str, worker: str, feature: str) -> bool:
    """Whether both have it."""
    return not any(feature in CANNOT.get(pair, {}) for pair in ((client, CLIENT), (worker, WORKER)))
