# SPDX-License-Identifier: MIT
"""Send every hostile request to gearmand and to fastgear, and print what becomes of each.

    python tests/hostile/compare.py             # every request, one a line
    python tests/hostile/compare.py --write     # and the table of docs/hostile-input.md, made anew

Both servers run on loopback. One that ends is started again, for the next request.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from hostile.attack import Bystanders, begin
from hostile.table import REQUESTS, Hostile
from servers import GEARMAND, free_port

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "hostile-input.md"
PATIENCE_S, HALF_PATIENCE_S = 0.5, 1.6  # fastgear waits a second for another half, gearmand without an end
NO_ANSWER = ("silence", "hang", "crash")


class Suspect:
    """A server that is started again when it has ended."""

    def __init__(self, name: str, command: Callable[[int], list[str]], folder: Path) -> None:
        self.name, self.command, self.folder = name, command, folder
        self.start()

    def start(self) -> None:
        self.address = ("127.0.0.1", free_port())
        with open(self.folder / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(self.address[1]), stdout=log, stderr=log, cwd=self.folder, env=os.environ
            )
        deadline = time.monotonic() + 10
        while True:
            with suppress(OSError):
                self.bystanders = Bystanders(self.address)
                return
            if time.monotonic() > deadline:
                sys.exit(f"{self.name} does not come up; see {self.folder}/{self.name}.log")
            time.sleep(0.05)

    def ask(self, one: Hostile) -> str:
        said = begin(self.address, one, self.bystanders.handle).wait(HALF_PATIENCE_S if one.half else PATIENCE_S)
        if self.bystanders.are_served():
            return said
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(0.5)
        said = "hang" if self.process.poll() is None else "crash"
        self.stop()
        self.start()
        return said

    def stop(self) -> None:
        self.bystanders.close()
        self.process.kill()
        self.process.wait()


def fastgear(port: int) -> list[str]:
    return [sys.executable, "-m", "fastgear", "serve", "--listen", f"127.0.0.1:{port}", "--input-timeout", "1"]


def gearmand(port: int) -> list[str]:
    return [str(GEARMAND), "-p", str(port), "-L", "127.0.0.1", "-l", "stderr"]


def kind(said: str) -> str:
    """For the counts: the worst of it, and an ERROR before a close."""
    words = said.split(", ")
    if words[-1] in NO_ANSWER:
        return words[-1]
    if any(word.startswith("ERR") for word in words):
        return "ERROR"
    return words[0] if words[0] in ("closes", "in step") else "answer"


def for_document(said: str) -> str:
    """Which request ends another server is for its makers to tell, not for this table."""
    *words, last = said.split(", ")
    return ", ".join([*words, "no answer" if last in NO_ANSWER else last])


def ask_all(servers: list[Suspect]) -> Iterator[tuple[Hostile, list[str]]]:
    for one in REQUESTS:
        yield one, [server.ask(one) for server in servers]


def table(results: list[tuple[Hostile, list[str]]]) -> Iterator[str]:
    """Requests of one family with the same outcomes share a line."""
    yield "| request | of | gearmand | fastgear |"
    yield "|---|---|---|---|"
    rows: dict[tuple[str, ...], list[str]] = {}
    for family in dict.fromkeys(one.family for one, _ in results):
        for one, said in results:
            if one.family == family:
                rows.setdefault((family, *map(for_document, said)), []).append(one.name)
    for (family, *said), names in rows.items():
        yield f"| {family} | {'; '.join(names)} | {' | '.join(said)} |"


def counts(results: list[tuple[Hostile, list[str]]], name: Callable[[str], str] = str) -> Iterator[str]:
    columns = [Counter(name(kind(said[at])) for _, said in results) for at in range(2)]
    yield "| outcome | gearmand | fastgear |"
    yield "|---|---|---|"
    for word in dict.fromkeys(map(name, ("ERROR", "answer", "in step", "closes", *NO_ANSWER))):
        yield f"| {word} | {columns[0][word]} | {columns[1][word]} |"


def write(results: list[tuple[Hostile, list[str]]], version: str) -> None:
    head, _, _ = DOCUMENT.read_text().partition("<!-- made -->\n")
    lines = [
        f"{len(results)} requests; gearmand is {version}.",
        "",
        *counts(results, for_document),
        "",
        *table(results),
    ]
    DOCUMENT.write_text(head + "<!-- made -->\n\n" + "\n".join(lines) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="What becomes of hostile requests, on gearmand and on fastgear.")
    parser.add_argument("--write", action="store_true", help="make the table of docs/hostile-input.md anew")
    args = parser.parse_args()
    if GEARMAND is None:
        sys.exit("there is no gearmand; Debian: apt-get install gearman-job-server")
    with tempfile.TemporaryDirectory() as folder:
        servers = [Suspect("gearmand", gearmand, Path(folder)), Suspect("fastgear", fastgear, Path(folder))]
        results = []
        try:
            for one, said in ask_all(servers):
                print(f"{one.family}: {one.name}: gearmand {said[0]}; fastgear {said[1]}", flush=True)
                results.append((one, said))
        finally:
            for server in servers:
                server.stop()
    print(*counts(results), sep="\n")
    if args.write:
        version = subprocess.run([str(GEARMAND), "--version"], capture_output=True, text=True, check=True).stdout
        write(results, version.split(" - ")[0].strip().removeprefix("gearmand "))
    wrong = [f"{one.family}: {one.name}: {said[1]}, not {one.gets}" for one, said in results if said[1] != one.gets]
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
