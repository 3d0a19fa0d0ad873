# SPDX-License-Identifier: MIT
"""The client and the worker with servers that misbehave, played by the tests; without any real server."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from played import Played, assign

from fastgear import Client, ConnectionLost, Server, Worker, WorkerJob

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="meets no server")


Run = Callable[[Worker], threading.Thread]


# -- worker

PREFETCHING = """
import ctypes, sys
from fastgear import Client, ConnectionLost, Server, Worker, WorkerJob
worker = Worker(sys.argv[1], prefetch=8)
worker.register("quick", lambda job: job.workload * int(sys.argv[2]))
worker.register("slow", lambda job: str(ctypes.PyDLL(None).usleep(1_500_000)))  # it keeps the GIL
worker.run()
"""


@pytest.fixture
def prefetching(played: Played, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """A worker process that has asked for two jobs, after one; the size of its result of one byte."""
    size: int = request.param
    with subprocess.Popen([sys.executable, "-c", PREFETCHING, played.address, str(size)], cwd=tmp_path) as process:
        try:
            played.accept()
            for number in range(2):
                played.expect("GRAB_JOB_UNIQ")
                played.socks[-1].sendall(assign(number, b"quick"))
                played.expect("WORK_COMPLETE")
            yield size
        finally:
            process.kill()


@pytest.mark.alone("a second or less is measured")
@pytest.mark.parametrize("prefetching", [1, 10_000, 30_000_000], indirect=True)
def test_a_result_does_not_wait_for_the_end_of_the_next_job(played: Played, prefetching: int) -> None:
    start = time.monotonic()
    played.socks[-1].sendall(assign(2, b"quick") + assign(3, b"quick", b"x") + assign(4, b"slow"))
    assert played.expect("WORK_COMPLETE") == (b"H:2", b"")
    assert played.expect("WORK_COMPLETE") == (b"H:3", b"x" * prefetching)
    assert time.monotonic() - start < 1, "the next job was waited for"
    assert played.expect("WORK_COMPLETE") == (b"H:4", b"0")
    assert time.monotonic() - start > 1.4


@pytest.mark.parametrize(
    ("code", "text", "hint"),
    [
        ("ARGUMENT_TOO_LARGE", "The result is too large", ""),
        (
            "JOB_NOT_FOUND",
            "Job given in work result not found",
            " (a job that this worker lost, most likely by its timeout)",
        ),
    ],
)
def test_a_worker_logs_the_server_s_words(
    played: Played,
    run_worker: Run,
    caplog: pytest.LogCaptureFixture,
    code: str,
    text: str,
    hint: str,
) -> None:
    worker = Worker(played.address)
    worker.register("f", lambda job: b"result")
    run_worker(worker)
    played.accept()
    played.expect("GRAB_JOB_UNIQ")
    with caplog.at_level(logging.WARNING):
        played.say("JOB_ASSIGN_UNIQ", b"H:1", b"f", b"", b"")
        assert played.expect("WORK_COMPLETE") == (b"H:1", b"result")
        played.say("ERROR", code.encode(), text.encode())
        played.say("JOB_ASSIGN_UNIQ", b"H:2", b"f", b"", b"")
        assert played.expect("WORK_COMPLETE") == (b"H:2", b"result")
    assert [record.getMessage() for record in caplog.records] == [f"the server answered {code}: {text}{hint}"]


def say_jobs(played: Played, *jobs: bytes) -> None:
    played.expect("GRAB_JOB_UNIQ")
    played.socks[-1].sendall(b"".join(jobs))


def start(played: Played, run_worker: Run, *, prefetch: int = 1, **functions: Callable[[WorkerJob], Any]) -> Worker:
    """A worker that has connected."""
    worker = Worker(played.address, prefetch=prefetch)
    for name, call in functions.items():
        worker.register(name, call)
    run_worker(worker)
    played.accept()
    return worker


def test_jobs_that_went_down_with_their_server_are_not_run(played: Played, run_worker: Run) -> None:
    ran: list[str] = []
    go = threading.Event()
    start(played, run_worker, prefetch=4, f=lambda job: ran.append(job.handle) or str(go.wait(5)))
    say_jobs(played, assign(1, b"f"))
    go.set()
    played.expect("WORK_COMPLETE")
    played.expect("GRAB_JOB_UNIQ")
    go.clear()
    played.socks[-1].sendall(assign(2, b"f") + assign(3, b"f"))
    while "H:2" not in ran:
        time.sleep(0.001)
    played.socks[-1].close()
    time.sleep(0.05)  # so that the worker can know
    go.set()
    played.accept()
    assert played.expect("CAN_DO") == (b"f",)
    say_jobs(played, assign(4, b"f"))
    assert played.expect("WORK_COMPLETE")[0] == b"H:4", "and no result of another connection's job"
    assert ran == ["H:1", "H:2", "H:4"]


def test_a_job_of_a_function_that_was_not_offered_ends_the_connection(
    played: Played, run_worker: Run, caplog: pytest.LogCaptureFixture
) -> None:
    start(played, run_worker, f=lambda job: b"well")
    say_jobs(played, assign(1, b"g"))
    played.accept()
    say_jobs(played, assign(2, b"f"))
    assert played.expect("WORK_COMPLETE") == (b"H:2", b"well")
    assert "the server sent a job of 'g', which this worker has not offered; connecting again" in caplog.text


def test_a_stopping_worker_asks_for_no_more_jobs(played: Played, run_worker: Run) -> None:
    worker = start(played, run_worker, f=lambda job: worker.stop())
    say_jobs(played, assign(1, b"f"))
    assert played.expect("WORK_COMPLETE") == (b"H:1", b"")
    with pytest.raises(AssertionError, match="closed before GRAB_JOB_UNIQ"):
        played.expect("GRAB_JOB_UNIQ")


def test_what_is_finished_leaves_when_the_next_job_ends_the_worker(played: Played) -> None:
    worker = Worker(played.address, prefetch=2)
    worker.register("f", lambda job: b"finished")

    @worker.function("end")
    def end(job: WorkerJob) -> None:
        raise KeyboardInterrupt

    def run() -> None:
        with suppress(KeyboardInterrupt):
            worker.run()

    thread = threading.Thread(target=run)
    thread.start()
    played.accept()
    say_jobs(played, assign(1, b"f"))
    assert played.expect("WORK_COMPLETE") == (b"H:1", b"finished")
    say_jobs(played, assign(2, b"f"), assign(3, b"end"))
    assert played.expect("WORK_COMPLETE") == (b"H:2", b"finished")
    thread.join(5)
    assert not thread.is_alive()


def test_large_workloads_and_results_at_once_do_not_lock_up(played: Played, run_worker: Run) -> None:
    start(played, run_worker, prefetch=4, f=lambda job: job.workload)
    say_jobs(played, assign(1, b"f"))
    played.expect("WORK_COMPLETE")
    large = b"x" * 20_000_000
    say_jobs(played, assign(2, b"f", large), assign(3, b"f", large))  # reading nothing before all is written
    for number in (2, 3):
        assert played.expect("WORK_COMPLETE") == (b"H:%d" % number, large)


@pytest.mark.alone("seconds are measured")
def test_a_worker_that_cannot_send_can_be_stopped(played: Played, run_worker: Run) -> None:
    sent: list[int] = []

    def talk(job: WorkerJob) -> None:
        for number in range(100):
            job.send_data(b"x" * 5_000_000)
            sent.append(number)

    worker = start(played, run_worker, talk=talk)
    say_jobs(played, assign(1, b"talk"))
    time.sleep(0.5)
    assert len(sent) < 10, "the server does not read, so the worker waits"
    begin = time.monotonic()
    worker.stop()
    while worker._wake_read >= 0:
        time.sleep(0.01)
        assert time.monotonic() - begin < 10


def test_a_server_that_is_silent_holds_up_neither_jobs_nor_the_end(silent: str, played: Played) -> None:
    worker = Worker(silent, played.address)
    worker.register("f", lambda job: b"")
    thread = threading.Thread(target=worker.run)
    start = time.monotonic()
    thread.start()
    played.accept()
    say_jobs(played, assign(1, b"f"))
    played.expect("WORK_COMPLETE")
    played.socks[-1].close()
    worker.stop()
    thread.join(3)
    assert not thread.is_alive() and time.monotonic() - start < 2


# -- client


def test_a_server_that_hangs_is_passed_over(played: Played) -> None:
    with Server("127.0.0.1:0") as server, Client(played.address, server.address, timeout=0.3) as client:
        for unique in range(10):  # the kernel connects whether the program answers or not
            client.submit_background("f", unique=str(unique))
        assert server.snapshot().functions[0].queued == 10
    with Client(played.address, timeout=0.1) as client, pytest.raises(ConnectionLost, match="did not answer in time"):
        client.submit("f")
