# SPDX-License-Identifier: MIT
"""Which of the servers are measured, and what is said of them, of the machine and of the day."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from datetime import datetime, timezone

from peers.servers import PEERS, Peer

__all__ = ["about", "choose_peers", "chosen"]


def chosen(names: str, all_names: Sequence[str], what: str) -> list[str]:
    """All of them where none is named. Raises SystemExit for a name that there is not."""
    found = [name.strip() for name in names.split(",")] if names else list(all_names)
    for name in found:
        if name not in all_names:
            sys.exit(f"there is no {what} {name!r}; there are {', '.join(all_names)}")
    return found


def choose_peers(names: str) -> list[Peer]:
    """Those that are here, in the order given; of the others a sentence."""
    by_name = {peer.name: peer for peer in PEERS}
    found = []
    for peer in (by_name[name] for name in chosen(names, list(by_name), "server")):
        if peer.version():
            found.append(peer)
        else:
            print(f"{peer.name} is not here, and is left out; {peer.missing}", file=sys.stderr)
    if not found:
        sys.exit("there is no server to measure")
    return found


def about(peers: Sequence[Peer]) -> str:
    """What was measured, and where."""
    versions = ", ".join(dict.fromkeys(peer.version() for peer in peers))
    busy = " ".join(f"{value:.1f}" for value in os.getloadavg())
    system = f"Linux {'.'.join(platform.release().split('.')[:2])}, {platform.machine()}"
    return f"{datetime.now(timezone.utc):%Y-%m-%d}: {versions}; {system}, {os.cpu_count()} CPUs, load average {busy} before"
