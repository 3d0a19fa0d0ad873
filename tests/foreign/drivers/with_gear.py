# SPDX-License-Identifier: MIT
"""gear, of OpenDev's Zuul, as client and worker; the lines are in ../lines.md."""

from __future__ import annotations

import sys
import threading
from importlib.metadata import version
from pathlib import Path

import gear
from lines import SHIFT, answer, say


def pieces(job):
    job.sendWorkData(b"one")
    job.sendWorkData(b"two")
    job.sendWorkComplete(b"three")


def warn(job):
    job.sendWorkWarning(b"careful")
    job.sendWorkComplete(b"done")


def progress(job):
    job.sendWorkStatus(1, 2)
    job.sendWorkComplete(b"done")


def hold(job):
    job.sendWorkStatus(1, 2)
    job.sendWorkComplete(Path(job.arguments.decode()).read_bytes())


FUNCTIONS = {
    "shift": lambda job: job.sendWorkComplete(job.arguments.translate(SHIFT)),
    "pieces": pieces,
    "warn": warn,
    "progress": progress,
    "fail": lambda job: job.sendWorkFail(),
    "raise": lambda job: job.sendWorkException(b"broken"),
    "hold": hold,
    "unique": lambda job: job.sendWorkComplete(job.unique),
}


def serve(host: str, port: int, name: str) -> None:
    worker = gear.Worker(name)
    worker.addServer(host, port)
    worker.waitForServer()
    for function in FUNCTIONS:
        worker.registerFunction(f"{name}-{function}")
    while True:
        job = worker.getJob()
        FUNCTIONS[job.name.partition("-")[2]](job)


class Client(gear.Client):
    """Its methods are called on gear's own thread as packets come in."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__("driver")
        self.over = threading.Event()
        self.submitted: dict[str, gear.Job] = {}
        self.addServer(host, port)
        self.waitForServer()
        self.setOption("exceptions")

    def handleWorkData(self, packet):
        say("data", packet.getArgument(1, True))
        return super().handleWorkData(packet)

    def handleWorkWarning(self, packet):
        say("warning", packet.getArgument(1, True))
        return super().handleWorkWarning(packet)

    def handleWorkStatus(self, packet):
        job = super().handleWorkStatus(packet)
        say("status", job.numerator.decode(), job.denominator.decode())
        return job

    def handleWorkComplete(self, packet):
        return self.end(super().handleWorkComplete(packet), "complete", packet.getArgument(1, True))

    def handleWorkFail(self, packet):
        return self.end(super().handleWorkFail(packet), "fail")

    def handleWorkException(self, packet):
        return self.end(super().handleWorkException(packet), "exception", packet.getArgument(1, True))

    def handleStatusRes(self, packet):
        job = super().handleStatusRes(packet)
        self.over.set()
        return job

    def end(self, job, *words):
        say(*words)
        self.over.set()
        return job

    def submit(self, function, priority, unique, workload, background):
        job = gear.Job(function, workload, unique)
        self.submitJob(job, background, getattr(gear, f"PRECEDENCE_{priority.upper()}"))
        return job

    def run(self, function, priority, unique, workload):
        self.over.clear()
        self.submit(function, priority, unique, workload, False)
        self.over.wait()

    def queue(self, function, priority, unique, workload):
        job = self.submit(function, priority, unique, workload, True)
        self.submitted[job.handle.decode()] = job
        return job.handle.decode()

    def ask(self, handle):
        """gear has no call for it: Zuul sends the packet as here, and reads the job."""
        job = self.submitted[handle]
        self.over.clear()
        job.connection.sendPacket(gear.Packet(gear.constants.REQ, gear.constants.GET_STATUS, job.handle))
        self.over.wait()
        return job.known, job.running, int(job.numerator), int(job.denominator)


if __name__ == "__main__":
    role, host, port, name = sys.argv[1:]
    say("ready", version("gear"))
    if role == "worker":
        serve(host, int(port), name)
    answer(Client(host, int(port)))
