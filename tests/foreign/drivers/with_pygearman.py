# SPDX-License-Identifier: MIT
"""pygearman, which is Yelp's python-gearman kept up for Python 3, as client and worker; the lines are in ../lines.md."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import gearman
from lines import SHIFT, answer, say


def pieces(worker, job):
    worker.send_job_data(job, b"one")
    worker.send_job_data(job, b"two")
    return b"three"


def warn(worker, job):
    worker.send_job_warning(job, b"careful")
    return b"done"


def progress(worker, job):
    worker.send_job_status(job, 1, 2)
    return b"done"


def throw(worker, job):
    raise ValueError("broken")


def fail(worker, job):
    raise LookupError("as asked")


def hold(worker, job):
    worker.send_job_status(job, 1, 2)
    return Path(job.data.decode()).read_bytes()


FUNCTIONS = {
    b"shift": lambda worker, job: job.data.translate(SHIFT),
    b"pieces": pieces,
    b"warn": warn,
    b"progress": progress,
    b"fail": fail,
    b"raise": throw,
    b"hold": hold,
    b"unique": lambda worker, job: job.unique,
}


class Worker(gearman.GearmanWorker):
    def on_job_exception(self, current_job, exc_info):
        """The library reports every exception as a failure; this is where a program sends it on."""
        if exc_info[0] is LookupError:
            return super().on_job_exception(current_job, exc_info)
        self.send_job_exception(current_job, str(exc_info[1]).encode())
        return False


def serve(address: str, name: str) -> None:
    worker = Worker([address])
    for function, call in FUNCTIONS.items():
        worker.register_task(name.encode() + b"-" + function, call)
    worker.work()


class Client:
    def __init__(self, address: str) -> None:
        self.client = gearman.GearmanClient([address])
        self.submitted: dict[str, object] = {}

    def submit(self, function, priority, unique, workload, **how):
        level = {"high": gearman.PRIORITY_HIGH, "normal": gearman.PRIORITY_NONE, "low": gearman.PRIORITY_LOW}[priority]
        return self.client.submit_job(function, workload, unique=unique, priority=level, **how)

    def run(self, function, priority, unique, workload):
        request = self.submit(function, priority, unique, workload, poll_timeout=60.0)  # None would not wait at all
        for piece in request.data_updates:
            say("data", piece)
        for text in request.warning_updates:
            say("warning", text)
        if request.status:
            say("status", request.status["numerator"], request.status["denominator"])
        if request.exception is not None:
            say("exception", request.exception)
        elif request.state == gearman.JOB_FAILED:
            say("fail")
        else:
            say("complete", request.result)

    def queue(self, function, priority, unique, workload):
        request = self.submit(function, priority, unique, workload, background=True, wait_until_complete=False)
        handle = request.job.handle.decode()
        self.submitted[handle] = request
        return handle

    def ask(self, handle):
        status = self.client.get_job_status(self.submitted[handle]).status
        return status["known"], status["running"], status["numerator"], status["denominator"]


if __name__ == "__main__":
    role, host, port, name = sys.argv[1:]
    say("ready", version("pygearman"))
    if role == "worker":
        serve(f"{host}:{port}", name)
    answer(Client(f"{host}:{port}"))
