# SPDX-License-Identifier: MIT
"""libgearman's command line tool `gearman` as client and worker; the lines are in ../lines.md.

A client is a process for each job, and says what it printed: `printed OUTPUT ERRORS`. A worker runs a command for each job, so
there is one for each function.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from lines import answer, say

# They read all of their input before they write: the tool does not read while it writes.
COMMANDS = {
    "shift": ["perl", "-0777", "-pe", r"tr/\x00-\xff/\x01-\xff\x00/"],
    "pieces": ["printf", r"one\ntwo\n"],
    "fail": ["false"],
    "hold": ["sh", "-c", 'cat "$(cat)"'],
}
PRIORITIES = {"high": ["-I"], "normal": [], "low": ["-L"]}


def serve(tool: list[str], name: str) -> None:
    workers = []
    for function, command in COMMANDS.items():
        by_line = ["-N"] if function == "pieces" else []
        words = [*tool, "-w", *by_line, "-f", f"{name}-{function}", "--", *command]
        workers.append(subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *words]))
    for worker in workers:
        worker.wait()


class Client:
    def __init__(self, tool: list[str]) -> None:
        self.tool = tool

    def call(self, function, priority, unique, workload, *more):
        words = [*self.tool, *more, *PRIORITIES[priority], *(["-u", unique] if unique else []), "-f", function]
        return subprocess.run(words, input=workload, capture_output=True)

    def run(self, function, priority, unique, workload):
        ended = self.call(function, priority, unique, workload)
        say("printed", ended.stdout, ended.stderr)

    def queue(self, function, priority, unique, workload):
        ended = self.call(function, priority, unique, workload, "-b", "-v")
        if not ended.stdout.startswith(b"Task created: "):
            raise RuntimeError(f"{ended.stdout!r} {ended.stderr!r}")
        return ended.stdout.split()[2].decode()

    def ask(self, handle):
        raise NotImplementedError


if __name__ == "__main__":
    role, host, port, name = sys.argv[1:]
    if shutil.which("gearman") is None:
        say("missing", b"gearman")
        sys.exit()
    say(
        "ready",
        subprocess.run(["dpkg-query", "-Wf", "${Version}", "gearman-tools"], capture_output=True).stdout.decode()
        or "?",
    )
    tool = ["gearman", "-h", host, "-p", port]
    if role == "worker":
        serve(tool, name)
    answer(Client(tool))
