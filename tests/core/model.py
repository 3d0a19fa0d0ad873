# SPDX-License-Identifier: MIT
"""The job server in plain Python, to compare with: what each request is answered with, and to whom.

Which sleeper is woken is the server's choice; the model only judges it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

HIGH, NORMAL, LOW = 0, 1, 2


@dataclass(eq=False)
class Function:
    name: bytes
    id: int
    queues: tuple[list[Job], list[Job], list[Job]] = field(default_factory=lambda: ([], [], []))
    max_queue: int = 0

    @property
    def queued(self) -> int:
        return sum(map(len, self.queues))


@dataclass(eq=False)
class Job:
    number: int
    function: Function
    unique: bytes
    workload: bytes
    priority: int
    background: bool
    waits: list[Peer] = field(default_factory=list)
    worker: Peer | None = None
    attempts: int = 0
    due: float | None = None
    deadline: tuple[float, int] | None = None
    progress: tuple[int, int] = (0, 0)

    @property
    def handle(self) -> bytes:
        return b"H:test:%d" % self.number


@dataclass(eq=False)
class Peer:
    abilities: dict[Function, float] = field(default_factory=dict)
    held: list[Job] = field(default_factory=list)
    exceptions: bool = False
    sleeping: bool = False
    turn: int = 0
    excepted: Job | None = None  # that it ended with WORK_EXCEPTION last
    out: list[tuple[str, tuple[bytes, ...]]] = field(default_factory=list)

    def say(self, name: str, *args: bytes) -> None:
        self.out.append((name, args))


class Model:
    def __init__(self, retries: int = -1, timeout_fails: bool = False) -> None:
        self.retries, self.timeout_fails = retries, timeout_fails
        self.peers: list[Peer] = []
        self.functions: dict[bytes, Function] = {}
        self.jobs: dict[int, Job] = {}
        self.delayed: list[Job] = []
        self.now = self.pushes = 0.0
        self.last_number = 0

    # -- peers

    def connect(self) -> Peer:
        self.peers.append(Peer())
        return self.peers[-1]

    def disconnect(self, peer: Peer) -> None:
        self.peers.remove(peer)
        peer.sleeping, peer.abilities = False, {}
        for job in list(self.jobs.values()):
            while peer in job.waits:
                job.waits.remove(peer)
            if not job.waits and not job.background and job.worker is None:
                self.forget(job)
        for job in reversed(peer.held[:]):
            self.lose(job)

    # -- clients

    def function(self, name: bytes) -> Function:
        return self.functions.setdefault(name, Function(name, len(self.functions)))

    def submit(
        self, peer: Peer, name: bytes, unique: bytes, workload: bytes, priority: int, background: bool, due: float = 0
    ) -> None:
        function = self.function(name)
        job = self.same(function, unique, workload)
        if job is None:
            total = sum(job.function is function for job in self.jobs.values())
            if function.max_queue and total >= function.max_queue:
                return peer.say("ERROR", b"QUEUE_ERROR", b"Job queue is full")
            self.last_number += 1
            job = self.jobs[self.last_number] = Job(self.last_number, function, unique, workload, priority, background)
            if due > self.now:
                job.due = due
                self.delayed.append(job)
            else:
                function.queues[priority].append(job)
        job.background |= background
        if not background:
            job.waits.append(peer)
        peer.say("JOB_CREATED", job.handle)

    def same(self, function: Function, unique: bytes, workload: bytes) -> Job | None:
        if not unique or (unique == b"-" and not workload):
            return None
        for job in self.jobs.values():
            if job.function is function and job.unique == unique and (unique != b"-" or job.workload == workload):
                return job
        return None

    def status(self, peer: Peer, handle: bytes) -> None:
        job = next((job for job in self.jobs.values() if job.handle == handle), None)
        peer.say("STATUS_RES", handle, *self.numbers(job))

    def numbers(self, job: Job | None) -> tuple[bytes, ...]:
        if job is None:
            return (b"0", b"0", b"0", b"0")
        return (b"1", b"%d" % (job.worker is not None), *(b"%d" % number for number in job.progress))

    def cancel(self, job: Job) -> None:
        self.fail(job)

    # -- workers

    def can_do(self, peer: Peer, name: bytes, timeout: float) -> None:
        peer.abilities[self.function(name)] = timeout

    def cant_do(self, peer: Peer, name: bytes) -> None:
        peer.abilities.pop(self.functions.get(name), None)  # type: ignore[arg-type]

    def grab(self, peer: Peer, kind: str) -> None:
        peer.sleeping = False
        job = self.next_job(peer)
        if job is None:
            return peer.say("NO_JOB")
        job.worker = peer
        job.attempts += 1
        peer.held.append(job)
        if peer.abilities[job.function]:
            self.pushes += 1
            job.deadline = (self.now + peer.abilities[job.function], int(self.pushes))
        unique = () if kind == "GRAB_JOB" else (job.unique,)
        name = "JOB_ASSIGN" if kind == "GRAB_JOB" else "JOB_ASSIGN_UNIQ"
        peer.say(name, job.handle, job.function.name, *unique, job.workload)

    def next_job(self, peer: Peer) -> Job | None:
        for priority in (HIGH, NORMAL, LOW):
            able = [function for function in peer.abilities if function.queues[priority]]
            if able:
                below = [function for function in able if function.id < peer.turn]
                function = max(below or able, key=lambda function: function.id)
                peer.turn = function.id
                return function.queues[priority].pop(0)
        return None

    def report(self, peer: Peer, job: Job, kind: str, *args: bytes) -> None:
        if kind == "WORK_FAIL" and peer.excepted is job:
            peer.excepted = None
            return None
        if job.worker is not peer or job.number not in self.jobs:
            return peer.say("ERROR", b"JOB_NOT_FOUND", _NOT_FOUND.get(kind, b"Job given in work result not found"))
        if kind == "WORK_STATUS":
            job.progress = (int(args[0]), int(args[1]))
        if kind == "WORK_FAIL":
            return self.fail(job)
        for client in job.waits:
            if kind == "WORK_EXCEPTION" and not client.exceptions:
                client.say("WORK_FAIL", job.handle)
            else:
                client.say(kind, job.handle, *args)
        if kind in ("WORK_COMPLETE", "WORK_EXCEPTION"):
            self.forget(job)
        if kind == "WORK_EXCEPTION":
            peer.excepted = job

    # -- the life of a job

    def forget(self, job: Job) -> None:
        del self.jobs[job.number]
        self.take_out(job)

    def take_out(self, job: Job) -> None:
        if job.worker is not None:
            job.worker.held.remove(job)
        elif job in self.delayed:
            self.delayed.remove(job)
        else:
            job.function.queues[job.priority].remove(job)
        job.worker = job.deadline = None

    def fail(self, job: Job) -> None:
        for client in job.waits:
            client.say("WORK_FAIL", job.handle)
        self.forget(job)

    def lose(self, job: Job) -> None:
        if not job.background and not job.waits:
            self.forget(job)
        elif self.retries >= 0 and job.attempts >= max(self.retries, 1):
            self.fail(job)
        else:
            self.take_out(job)
            job.progress = (0, 0)
            queue = job.function.queues[job.priority]
            queue.insert(0 if job.attempts == 1 else len(queue), job)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [job for job in self.delayed if job.due is not None and job.due <= self.now]
        for job in sorted(due, key=lambda job: job.due or 0):
            self.delayed.remove(job)
            job.function.queues[job.priority].append(job)
        late = [job for job in self.jobs.values() if job.deadline is not None and job.deadline[0] <= self.now]
        for job in sorted(late, key=lambda job: job.deadline or (0, 0)):
            (self.fail if self.timeout_fails else self.lose)(job)


_NOT_FOUND = {
    "WORK_DATA": b"Job does not exist on server",
    "WORK_WARNING": b"Job does not exist on server",
    "WORK_EXCEPTION": b"An exception was received for a job that does not exist",
}
