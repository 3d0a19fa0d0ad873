# SPDX-License-Identifier: MIT
"""The books of the soak, kept outside the server from what all who take part have noted (notes.py).

A job is known by its handle. It may be given out again only where its last run can have been lost: the worker was killed, hung up,
or passed the function's timeout.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from soaks.jobs import EXPECTED, TIMEOUT_S, function_of
from soaks.notes import Note

__all__ = ["MUST_BE_NONE", "Ledger"]

MUST_BE_NONE = (
    "lost", "without an end for a client that waits", "ended twice", "ended otherwise than it should", "ended without having run",
    "run again without a reason", "another job's handle", "faults",
)  # fmt: skip
ON_ITS_WAY_S = 1.0  # a result that was sent so shortly before a worker's end may not have arrived
LATEST_NOTE_S = (
    0.4  # how much later than the server's clock a worker notes that it begins, but for when it stands still
)
CAUGHT_UP_S = 0.5  # a job noted so shortly after its worker goes on may have come when that was stopped
KEPT_S = 120.0  # how long a job that is over can be asked for all its life
MOST_EXAMPLES = 5
RECENT = 200


@dataclass(slots=True)
class Run:
    pid: int
    begun: float
    done: float | None = None


@dataclass(slots=True)
class Job:
    token: str
    touched: float = 0.0
    background: bool = False
    cancelled: bool = False
    runs: list[Run] = field(default_factory=list)
    waiting: Counter[int] = field(default_factory=Counter)  # by pid

    @property
    def is_done(self) -> bool:
        return any(run.done is not None for run in self.runs)


class Ledger:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)
        self.recent: deque[str] = deque(maxlen=RECENT)  # handles
        self._jobs: dict[str, Job] = {}
        self._settled: set[int] = set()  # the numbers of handles whose jobs are over, and forgotten
        self._gone: dict[int, list[float]] = defaultdict(list)  # when a worker's jobs went back, by pid
        self._killed: set[int] = set()
        self._stops: dict[int, list[tuple[float, float]]] = defaultdict(list)  # from when to when, by pid
        self._on = {
            "begins": self._begins, "done": self._done, "background": self._background, "waits": self._waits,
            "ended": self._ended, "cancels": self._cancels, "spared": self._spared,
        }  # fmt: skip

    def take(self, notes: Iterable[Note]) -> None:
        for note in notes:
            if note.what == "fault":
                self._complain("faults", note.more)
            elif note.what in ("kills", "hangs-up", "stops", "goes-on"):
                self._signalled(note)
            elif _number(note.handle) in self._settled:
                self._too_late(note)
            else:
                self._on[note.what](self._job(note), note)

    def _job(self, note: Note) -> Job:
        job = self._jobs.get(note.handle)
        if job is None:
            job = self._jobs[note.handle] = Job(note.token)
        if note.token not in ("-", job.token):
            self._complain("another job's handle", f"{note.handle} is {job.token} and {note.token}")
        job.touched = note.seconds
        return job

    def _complain(self, name: str, text: str) -> None:
        self.counts[name] += 1
        if len(self.examples[name]) < MOST_EXAMPLES:
            self.examples[name].append(text)

    # -- what was noted

    def _signalled(self, note: Note) -> None:
        self.counts[note.what] += 1
        if note.what == "stops":
            self._stops[note.pid].append((note.seconds, math.inf))
            return
        if note.what == "goes-on":
            self._stops[note.pid][-1] = (self._stops[note.pid][-1][0], note.seconds)
            return
        self._gone[note.pid].append(note.seconds)
        if note.what == "kills":
            self._killed.add(note.pid)

    def _too_late(self, note: Note) -> None:
        """Of a job that was over long ago. Who cancels may come too late."""
        if note.what == "begins":
            self._complain("run again without a reason", f"{note.handle} {note.token}, which was over long before")
        elif note.what == "ended":
            self._complain("ended twice", f"{note.handle} {note.token}, which was over long before")
        elif note.what in ("background", "waits"):
            self._complain("another job's handle", f"{note.handle} {note.token}, whose handle is used again")

    def _begins(self, job: Job, note: Note) -> None:
        self.counts["runs"] += 1
        if job.runs:
            self.counts["runs of a job that had begun before"] += 1
            if not self._may_run_again(job, note):
                said = ", ".join(f"by {run.pid} from {run.begun:.3f} to {run.done}" for run in job.runs)
                self._complain(
                    "run again without a reason",
                    f"{note.handle} {job.token}: {said}, and by {note.pid} at {note.seconds:.3f}",
                )
        job.runs.append(Run(note.pid, note.seconds))

    def _may_run_again(self, job: Job, note: Note) -> bool:
        last = job.runs[-1]
        for gone in self._gone.get(last.pid, ()):
            if last.begun <= gone and (last.done is None or gone - last.done < ON_ITS_WAY_S):
                return True
        if function_of(job.token) != "timed":
            return False
        return note.seconds - self._given_out(last) > TIMEOUT_S - LATEST_NOTE_S

    def _given_out(self, run: Run) -> float:
        """At the earliest: while a worker is stopped, the time of the job that it gets meanwhile runs already."""
        at = run.begun
        for stopped, went_on in reversed(self._stops[run.pid]):
            if stopped < at < went_on + CAUGHT_UP_S:
                at = stopped
        return at

    def _done(self, job: Job, note: Note) -> None:
        for run in job.runs:
            if run.pid == note.pid and run.done is None:
                run.done = note.seconds

    def _background(self, job: Job, note: Note) -> None:
        self.counts["background jobs acknowledged"] += 1
        job.background = True
        self.recent.append(note.handle)

    def _waits(self, job: Job, note: Note) -> None:
        self.counts["clients that waited for a job"] += 1
        job.waiting[note.pid] += 1
        self.recent.append(note.handle)

    def _ended(self, job: Job, note: Note) -> None:
        self.ends[note.more] += 1
        if not job.waiting[note.pid]:
            self._complain("ended twice", f"{note.handle} {job.token}: {note.more} for {note.pid}, which did not wait")
            return
        job.waiting[note.pid] -= 1
        if note.more == "left" or (note.more == "fail" and job.cancelled):
            return
        if note.more != EXPECTED.get(function_of(job.token), "result"):
            self._complain("ended otherwise than it should", f"{note.handle} {job.token}: {note.more}")
        if not job.is_done:
            self._complain("ended without having run", f"{note.handle} {job.token}: {note.more}")

    def _cancels(self, job: Job, note: Note) -> None:
        job.cancelled = True

    def _spared(self, job: Job, note: Note) -> None:
        job.cancelled = False

    # -- the balance

    def unfinished(self) -> list[str]:
        """Of the jobs acknowledged last, the handles of those that nobody has begun, or cancelled."""
        jobs = ((handle, self._jobs.get(handle)) for handle in self.recent)
        return [handle for handle, job in jobs if job is not None and not (job.runs or job.cancelled)]

    def _is_waited_for(self, job: Job) -> bool:
        return any(count for pid, count in job.waiting.items() if pid not in self._killed)

    def _is_lost(self, job: Job, put_aside: set[str]) -> bool:
        return job.background and not (job.is_done or job.cancelled or job.token in put_aside)

    def settle(self, now: float) -> None:
        """Forget jobs that were over long ago, but for their handles."""
        for handle, job in list(self._jobs.items()):
            if now - job.touched > KEPT_S and not self._is_waited_for(job) and not self._is_lost(job, set()):
                del self._jobs[handle]
                self._settled.add(_number(handle))
                self.counts["jobs"] += 1
                self.counts["cancelled"] += job.cancelled

    def balance(self, put_aside: set[str]) -> dict[str, int]:
        """When all is over; `put_aside` are the tokens of the dead."""
        found = self.counts.copy()
        for handle, job in self._jobs.items():
            found["jobs"] += 1
            found["cancelled"] += job.cancelled
            if self._is_lost(job, put_aside):
                found["lost"] += 1
                self.examples["lost"].append(f"{handle} {job.token}")
            if self._is_waited_for(job):
                found["without an end for a client that waits"] += 1
                self.examples["without an end for a client that waits"].append(f"{handle} {job.token}")
        found["jobs put aside"] = len(put_aside)
        found |= Counter({f"ends: {name}": count for name, count in self.ends.items()})
        return {name: found[name] for name in (*sorted(found.keys() - set(MUST_BE_NONE)), *MUST_BE_NONE)}

    def complaints(self, balance: dict[str, int]) -> list[str]:
        """One sentence for each condition that is not met."""
        return [
            f"{name}: {balance[name]:,}, such as {'; '.join(self.examples[name][:MOST_EXAMPLES])}"
            for name in MUST_BE_NONE
            if balance[name]
        ]


def _number(handle: str) -> int:
    return int(handle.rpartition(":")[2])
