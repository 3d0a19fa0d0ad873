# SPDX-License-Identifier: MIT
"""A program with a server in it, for faults.py: starts and stops it when told to, and says what that has left behind.

    LD_PRELOAD=calls.so FASTGEAR_CALLS=FILE python rig.py ADDRESS... < commands

Commands and answers are lines of JSON.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from typing import Any

from fastgear import Server, ServerConfig
from fastgear.base.alloc import fail_after, live_allocations


class Rig:
    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses
        self._server: Server | None = None

    def start(self, allocations: int = -1, store: str = "") -> dict[str, Any]:
        """The allocation after so many fails. What is there now is what has to be there after `stop`, or after an error."""
        gc.collect()
        self._descriptors, self._allocations = descriptors(), live_allocations()
        server = Server(*self._addresses, config=ServerConfig(verbose="FATAL", store=store, max_output=1 << 20))
        fail_after(allocations)
        failure = ""
        try:
            server.start()
        except (OSError, MemoryError, RuntimeError) as error:
            failure = f"{type(error).__name__}: {error}"
        if not failure:
            self._server = server
            return {"error": "", "addresses": server.addresses}
        fail_after(-1)
        return {"error": failure, "addresses": [], **self._left()}

    def stop(self) -> dict[str, Any]:
        assert self._server is not None
        begun = time.monotonic()
        self._server.stop()
        took = time.monotonic() - begun
        untouched = fail_after(-1) >= 0
        self._server = None
        return {"seconds": took, "untouched": untouched, **self._left()}

    def _left(self) -> dict[str, Any]:
        gc.collect()
        more = [name for fd, name in descriptors().items() if self._descriptors.get(fd) != name]
        return {"descriptors": more, "allocations": live_allocations() - self._allocations}


def descriptors() -> dict[str, str]:
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
    return found


def main(addresses: list[str]) -> None:
    rig = Rig(addresses)
    gc.collect()
    gc.freeze()  # or each collection would look at all modules
    for line in sys.stdin:
        command, options = json.loads(line)
        print(json.dumps(getattr(rig, command)(**options)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
