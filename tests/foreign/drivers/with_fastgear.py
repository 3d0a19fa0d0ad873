# SPDX-License-Identifier: MIT
"""fastgear's own Client and Worker as peers; the lines are in ../lines.md."""

from __future__ import annotations

import sys
from pathlib import Path

from lines import SHIFT, answer, say

import fastgear
from fastgear.version import VERSION


def serve(address: str, name: str) -> None:
    worker = fastgear.Worker(address)

    @worker.function(f"{name}-shift")
    def shift(job):
        return job.workload.translate(SHIFT)

    @worker.function(f"{name}-pieces")
    def pieces(job):
        job.send_data(b"one")
        job.send_data(b"two")
        return b"three"

    @worker.function(f"{name}-warn")
    def warn(job):
        job.warn(b"careful")
        return b"done"

    @worker.function(f"{name}-progress")
    def progress(job):
        job.set_status(1, 2)
        return b"done"

    @worker.function(f"{name}-fail")
    def fail(job):
        raise fastgear.JobFailed("as asked")

    @worker.function(f"{name}-raise")
    def throw(job):
        raise ValueError("broken")

    @worker.function(f"{name}-hold")
    def hold(job):
        job.set_status(1, 2)
        return Path(job.workload.decode()).read_bytes()

    @worker.function(f"{name}-unique")
    def unique(job):
        return job.unique

    worker.run()


class Client:
    def __init__(self, address: str) -> None:
        self.client = fastgear.Client(address)

    def run(self, function, priority, unique, workload):
        job = self.client.submit(function, workload, unique=unique, priority=priority)
        error = job.exception()
        for piece in job.data:
            say("data", piece)
        for text in job.warnings:
            say("warning", text)
        if job.status.denominator:
            say("status", job.status.numerator, job.status.denominator)
        if isinstance(error, fastgear.JobException):
            say("exception", error.remote_traceback.encode())
        elif isinstance(error, fastgear.JobFailed):
            say("fail")
        else:
            say("complete", job.result())

    def queue(self, function, priority, unique, workload):
        return self.client.submit_background(function, workload, unique=unique, priority=priority)

    def ask(self, handle):
        status = self.client.status(handle)
        return status.known, status.running, status.numerator, status.denominator


if __name__ == "__main__":
    role, host, port, name = sys.argv[1:]
    say("ready", VERSION)
    if role == "worker":
        serve(f"{host}:{port}", name)
    answer(Client(f"{host}:{port}"))
