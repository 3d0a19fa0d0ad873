# SPDX-License-Identifier: MIT
"""The conversation of a client, and of a worker, with a server: calls in, bytes out; bytes in, events out.

No sockets, no clock, no threads. Every answer of a server but WORK_* comes in the order of the requests, so a client's
session keeps a queue of what it expects; ERROR takes the place of the answer that it refuses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from fastgear.errors import ConnectionLost, RemoteProtocolError, ServerError
from fastgear.protocol.wire import Packet, PacketReader, PacketType, pack_request
from fastgear.types import JobStatus

__all__ = ["Answer", "AssignedJob", "ClientSession", "End", "SubmittedJob", "WorkerSession"]

_TURNED_AWAY = "TOO_MANY_CONNECTIONS"  # said before anything was read: it never answers a request


class End(Enum):
    """How a job ended."""

    COMPLETE = "complete"
    FAIL = "fail"
    EXCEPTION = "exception"


# -- the client's side ------------------------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class SubmittedJob:
    """What a client knows of a job that it submitted; the session fills it in, and calls `notify` after each change."""

    function: str
    unique: bytes = b""
    handle: str = ""
    background: bool = False
    numerator: int = 0
    denominator: int = 0
    data: deque[bytes] = field(default_factory=deque)
    warnings: list[bytes] = field(default_factory=list)
    end: End | None = None
    payload: bytes = b""
    error: Exception | None = None
    notify: Callable[[], None] | None = None
    sink: deque[SubmittedJob] | None = None  # where it is put once it is over

    @property
    def is_over(self) -> bool:
        return self.end is not None or self.error is not None

    def deliver(self) -> None:
        """Put it where who waits for it looks; after an interruption that may happen twice."""
        if self.sink is not None:
            self.sink.append(self)
        self.changed()

    def changed(self) -> None:
        if self.notify is not None:
            self.notify()


@dataclass(eq=False, slots=True)
class Answer:
    """A place for one answer: the packet's arguments, or the server's refusal. `notify` is called when it is there."""

    args: tuple[bytes, ...] | None = None
    error: Exception | None = None
    notify: Callable[[], None] | None = None

    @property
    def is_there(self) -> bool:
        return self.args is not None or self.error is not None

    def deliver(self) -> None:
        if self.notify is not None:
            self.notify()

    def take(self) -> tuple[bytes, ...]:
        """The arguments. Raises ServerError where the server answered with that, ConnectionLost where it could not."""
        if self.error is not None:
            raise self.error
        assert self.args is not None
        return self.args


class ClientSession:
    """A client's side of one connection."""

    def __init__(self) -> None:
        self._reader = PacketReader()
        self._expected: deque[tuple[PacketType, SubmittedJob | Answer]] = deque()
        self._jobs: dict[bytes, deque[SubmittedJob]] = {}
        self._on = {
            PacketType.JOB_CREATED: self._on_job_created,
            PacketType.WORK_COMPLETE: self._on_end,
            PacketType.WORK_FAIL: self._on_end,
            PacketType.WORK_EXCEPTION: self._on_end,
            PacketType.WORK_DATA: self._on_data,
            PacketType.WORK_WARNING: self._on_data,
            PacketType.WORK_STATUS: self._on_status,
            PacketType.ERROR: self._on_error,
            PacketType.ECHO_RES: self._on_answer,
            PacketType.OPTION_RES: self._on_answer,
            PacketType.STATUS_RES: self._on_answer,
            PacketType.STATUS_RES_UNIQUE: self._on_answer,
        }

    # requests: bytes to send

    def submit(self, job: SubmittedJob, packet: bytes) -> bytes:
        """Expect the answer to `packet`, which `submission` made, for this job."""
        self._expected.append((PacketType.JOB_CREATED, job))
        return packet

    def ask(self, answer: Answer, request: PacketType, expect: PacketType, argument: bytes) -> bytes:
        packet = pack_request(request, argument)
        self._expected.append((expect, answer))
        return packet

    # bytes received

    def receive(self, data: bytes | memoryview) -> list[SubmittedJob]:
        """Take bytes and return the jobs that ended by them.

        Raises RemoteProtocolError, and ServerError for an ERROR about the connection as a whole: it is of no use after that.
        """
        ended: list[SubmittedJob] = []
        on = self._on
        for packet in self._reader.feed(data):
            handler = on.get(packet.type)
            if handler is None or packet.is_request:
                raise RemoteProtocolError(f"the server sent {packet.type.name}, which is not for a client")
            handler(packet, ended)
        return ended

    # An exception from a signal handler may end each of these between two steps. So a job is always in one place at least: it is
    # put into the next one before it is taken from the last.

    def _expected_by(self, packet: Packet) -> SubmittedJob | Answer:
        if not self._expected:
            raise RemoteProtocolError(
                f"the server sent {packet.type.name} {packet.args[:1]!r} without having been asked"
            )
        expected, place = self._expected[0]
        if packet.type not in (expected, PacketType.ERROR):
            raise RemoteProtocolError(f"the server sent {packet.type.name} where {expected.name} was due")
        return place

    def _on_job_created(self, packet: Packet, ended: list[SubmittedJob]) -> None:
        job = self._expected_by(packet)
        assert isinstance(job, SubmittedJob)
        handle = packet.args[0]
        if not job.background:
            jobs = self._jobs.get(handle)
            if jobs is None:
                self._jobs[handle] = deque((job,))
            else:
                jobs.append(job)
        job.handle = handle.decode("utf-8", "surrogateescape")
        self._expected.popleft()
        job.changed()

    def _on_answer(self, packet: Packet, ended: list[SubmittedJob]) -> None:
        answer = self._expected_by(packet)
        assert isinstance(answer, Answer)
        answer.args = packet.args
        self._expected.popleft()
        answer.deliver()

    def _on_error(self, packet: Packet, ended: list[SubmittedJob]) -> None:
        error = server_error(packet)
        if not self._expected or error.code == _TURNED_AWAY:
            raise error  # about the connection as a whole
        place = self._expected_by(packet)
        place.error = error
        place.deliver()
        if isinstance(place, SubmittedJob):
            ended.append(place)
        self._expected.popleft()

    def _on_end(self, packet: Packet, ended: list[SubmittedJob]) -> None:
        """A handle may end in a NUL: gearmand leaves one when it turns WORK_EXCEPTION into WORK_FAIL."""
        handle = packet.args[0].rstrip(b"\0")
        jobs = self._jobs.get(handle)
        if jobs is None:
            return
        job = jobs[0]
        if len(packet.args) > 1:
            job.payload = packet.args[1]
        job.end = _ENDS[packet.type]
        job.deliver()
        ended.append(job)
        jobs.popleft()
        if not jobs:
            del self._jobs[handle]

    def _waiting(self, packet: Packet) -> SubmittedJob | None:
        """Whose turn it is: a job that was submitted twice here gets every packet twice, in order."""
        jobs = self._jobs.get(packet.args[0])
        if jobs is None:
            return None
        if len(jobs) > 1:
            jobs.rotate(-1)
        return jobs[-1]

    def _on_data(self, packet: Packet, ended: list[SubmittedJob]) -> None:
        job = self._waiting(packet)
        if job is not None:
            (job.data if packet.type is PacketType.WORK_DATA else job.warnings).append(packet.args[1])
            job.changed()

    def _on_status(self, packet: Packet, ended: list[SubmittedJob]) -> None:
        job = self._waiting(packet)
        if job is not None:
            job.numerator, job.denominator = leading_int(packet.args[1]), leading_int(packet.args[2])
            job.changed()

    # the end of the connection

    def unfinished(self) -> tuple[list[SubmittedJob], list[SubmittedJob], list[Answer]]:
        """Jobs that were acknowledged, jobs that were not, and answers that did not come."""
        acknowledged = [job for jobs in self._jobs.values() for job in jobs]
        places = [place for _, place in self._expected]
        return (
            acknowledged,
            [place for place in places if isinstance(place, SubmittedJob)],
            [place for place in places if isinstance(place, Answer)],
        )

    def lose(self, server: object, error: Exception) -> None:
        """The connection to `server` is broken: each that waits on it ends with a ConnectionLost of its own."""
        text = str(error) if isinstance(error, ConnectionLost) else f"the connection to {server} broke: {error}"
        acknowledged, unanswered, answers = self.unfinished()
        handles = tuple(record.handle for record in acknowledged)
        for record in (*acknowledged, *unanswered):
            if not record.is_over:
                record.error = ConnectionLost(text, handles=handles, unanswered=len(unanswered))
            record.deliver()
        for answer in answers:
            if not answer.is_there:
                answer.error = ConnectionLost(text, handles=handles, unanswered=len(unanswered))
            answer.deliver()

    @property
    def is_idle(self) -> bool:
        return not self._expected and not self._jobs


_ENDS = {
    PacketType.WORK_COMPLETE: End.COMPLETE,
    PacketType.WORK_FAIL: End.FAIL,
    PacketType.WORK_EXCEPTION: End.EXCEPTION,
}


def server_error(packet: Packet) -> ServerError:
    """An ERROR packet as an exception."""
    code, text = (argument.decode("utf-8", "replace") for argument in packet.args)
    return ServerError(code, text)


def leading_int(text: bytes) -> int:
    """The number at the beginning, 0 without one: servers do not check what workers send as status."""
    digits = text[: len(text) - len(text.lstrip(b"0123456789"))]
    return min(int(digits[:20]), 2**63 - 1) if digits else 0


def parse_status(args: tuple[bytes, ...]) -> JobStatus:
    """The arguments of STATUS_RES or STATUS_RES_UNIQUE."""
    return JobStatus(
        known=args[1] == b"1",
        running=args[2] == b"1",
        numerator=leading_int(args[3]),
        denominator=leading_int(args[4]),
        waiting_clients=leading_int(args[5]) if len(args) > 5 else None,
    )


# -- the worker's side ------------------------------------------------------------------------------------------------

_GRAB = pack_request(PacketType.GRAB_JOB_UNIQ)
_PRE_SLEEP = pack_request(PacketType.PRE_SLEEP)


@dataclass(eq=False, slots=True)
class AssignedJob:
    """A job as a worker gets it."""

    handle: bytes
    function: str
    unique: bytes
    workload: bytes


class WorkerSession:
    """A worker's side of one connection: keeps up to `prefetch` jobs in hand or asked for, and sleeps when there are none.

    With `concurrency` above 1 so many jobs run at once: then it sleeps, to be woken for the next one, with jobs in hand too.
    """

    def __init__(
        self, prefetch: int = 1, on_error: Callable[[ServerError], None] | None = None, *, concurrency: int = 1
    ) -> None:
        self._reader = PacketReader()
        self._prefetch = prefetch
        self._concurrency = concurrency
        self._window = 1  # grows to prefetch while there are jobs, so that an idle server is not asked in vain
        self._sleeping = False
        self._on_error = on_error
        self._asked = 0
        self._held = 0
        self._leaving = False
        self._outgoing = bytearray()

    def hello(self, abilities: Iterable[tuple[bytes, int]], client_id: bytes | None) -> None:
        """Introduce the worker, with its functions and their timeouts in milliseconds (0: none), and ask for jobs."""
        if client_id:
            self._outgoing += pack_request(PacketType.SET_CLIENT_ID, client_id)
        for name, timeout_ms in abilities:
            self._outgoing += (
                pack_request(PacketType.CAN_DO_TIMEOUT, name, b"%d" % timeout_ms)
                if timeout_ms
                else pack_request(PacketType.CAN_DO, name)
            )
        self._grab()

    def take_outgoing(self) -> bytearray:
        outgoing, self._outgoing = self._outgoing, bytearray()
        return outgoing

    def _grab(self) -> None:
        behind = max(0, self._held - self._concurrency + 1)  # those that one more job would have to wait for
        count = min(self._window - behind, self._prefetch - self._held) - self._asked
        if count > 0 and not self._leaving and not self._sleeping:
            self._outgoing += _GRAB * count
            self._asked += count

    def receive(self, data: bytes | memoryview) -> list[AssignedJob]:
        """Take bytes and return the jobs that were assigned by them.

        Raises RemoteProtocolError, and ServerError for an ERROR about the connection as a whole: it is of no use after that.
        """
        jobs: list[AssignedJob] = []
        for packet in self._reader.feed(data):
            kind = packet.type
            if kind in (PacketType.JOB_ASSIGN_UNIQ, PacketType.NO_JOB) and not self._asked:
                raise RemoteProtocolError(f"the server sent {kind.name} without having been asked")
            if kind is PacketType.JOB_ASSIGN_UNIQ:
                handle, function, unique, workload = packet.args
                jobs.append(AssignedJob(handle, function.decode("utf-8", "surrogateescape"), unique, workload))
                self._asked -= 1
                self._held += 1
                self._window = min(self._prefetch, self._window * 2)
            elif kind is PacketType.NO_JOB:
                self._asked -= 1
                self._window = 1
                self._sleep_if_idle()
            elif kind is PacketType.NOOP:
                self._sleeping = False
                self._grab()
            elif kind is PacketType.ERROR:
                self._report(packet)
            elif kind not in (PacketType.ECHO_RES, PacketType.OPTION_RES):
                raise RemoteProtocolError(f"the server sent {kind.name}, which is not for a worker")
        if jobs:
            self._grab()
        return jobs

    def _report(self, packet: Packet) -> None:
        """ERROR refuses a report: the job is not this worker's any more, or the result is one that the server cannot take."""
        error = server_error(packet)
        if error.code == _TURNED_AWAY:
            raise error
        if self._on_error is not None:
            self._on_error(error)

    def _sleep_if_idle(self) -> None:
        if not self._asked and self._held < self._concurrency and not self._leaving:
            self._outgoing += _PRE_SLEEP
            self._sleeping = True

    # reports on a job in hand

    def update(self, kind: PacketType, *args: bytes) -> None:
        """WORK_STATUS, WORK_DATA or WORK_WARNING."""
        self._outgoing += pack_request(kind, *args)

    def finish(self, kind: PacketType, *args: bytes) -> None:
        """WORK_COMPLETE, WORK_FAIL or WORK_EXCEPTION; and ask for the next job."""
        self._outgoing += pack_request(kind, *args)
        self._held -= 1
        self._grab()

    def leave(self) -> None:
        """Ask for no more jobs. Those in hand that are not finished go back when the connection ends."""
        self._leaving = True
