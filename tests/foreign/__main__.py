# SPDX-License-Identifier: MIT
"""Print the matrix: ``python -m tests.foreign [fastgear|gearmand]``. Exits with 1 where something did not work."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from foreign.matrix import on_stage, try_pair, write
from foreign.peers import PEERS


def main() -> int:
    results = {}
    with on_stage(*sys.argv[1:]) as stage:
        there = [name for name in PEERS if name not in stage.missing]
        for client in there:
            for worker in there:
                results[client, worker] = try_pair(stage, client, worker)
                for feature, text in results[client, worker].items():
                    if text:
                        print(f"{client} with {worker}, {feature}: {text}", file=sys.stderr, flush=True)
        print(write(results) + "\n")
        print("Versions: " + ", ".join(f"{name} {version}" for name, version in stage.versions.items()) + ".")
    for name in stage.missing:
        print(f"missing: {PEERS[name].title}; {PEERS[name].install} {PEERS[name].package}")
    return 1 if any(text for cells in results.values() for text in cells.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
