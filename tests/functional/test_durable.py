# SPDX-License-Identifier: MIT
"""Jobs that survive their server, over sockets and with real files; and a store that is slow, or has trouble."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import run_server
from serving import Peer, serving, until, working
from speak import cut, request
from storage.memory import MemoryStore

from fastgear import (
    AdminClient,
    Client,
    JobFailed,
    Priority,
    Server,
    ServerConfig,
    ServerError,
    StoreError,
    StoreFull,
    StoreInUse,
    StoreLost,
    StoreTrouble,
    Worker,
    WorkerJob,
)
from fastgear.base.alloc import counting, live_allocations
from fastgear.storage.sqlite import SqliteStore
from fastgear.storage.store import Batch

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand's stores are its own")

HERE = "127.0.0.1:0"


class StubbornStore(MemoryStore):
    """Slow, or in trouble, as it is told."""

    def __init__(self, *, pause_s: float = 0.0) -> None:
        super().__init__()
        self.pause_s = pause_s
        self.error: Exception | None = None
        self.appends = 0
        self.closed = False
        self.unwell = ""

    def health(self) -> str:
        return self.unwell

    def append(self, batch: Batch) -> None:
        self.appends += 1
        time.sleep(self.pause_s)
        if self.error is not None and (batch.submitted or not isinstance(self.error, StoreFull)):
            raise self.error
        super().append(batch)

    def close(self) -> None:
        if isinstance(self.error, StoreTrouble):
            raise self.error
        self.closed = True


@contextlib.contextmanager
def durable_server(path: Path, **options: object) -> Iterator[Server]:
    with Server(config=ServerConfig(listen=(HERE,), store=str(path / "jobs.db"), **options)) as server:  # type: ignore[arg-type]
        yield server


def run_all(address: str, function: str = "f", seconds: float = 10) -> list[bytes]:
    """The workloads of all jobs that are there, in the order in which they are given out; all of them are done."""
    found = []
    with Peer(address) as peer:
        peer.socket.sendall(request("CAN_DO", function.encode()) + request("GRAB_JOB"))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            name, args = peer.receive()
            if name == "NO_JOB":
                return found
            found.append(args[2])
            peer.socket.sendall(request("WORK_COMPLETE", args[0], b"") + request("GRAB_JOB"))
    raise AssertionError(f"they do not end: {len(found)}, {found[:3]}, {found[-3:]}")


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- another life -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["full", "normal", "on-shutdown", "off"])
def test_jobs_come_back_in_their_order_under_their_handles(tmp_path: Path, durability: str) -> None:
    names = {Priority.HIGH: b"high", Priority.NORMAL: b"normal", Priority.LOW: b"low"}
    with durable_server(tmp_path, durability=durability) as server, Client(server.address) as client:
        handles = {
            client.submit_background("f", name + b"%d" % i, priority=priority)
            for i in range(3)
            for priority, name in names.items()
        }
        client.submit("f", b"a foreground job goes with its client")
    with durable_server(tmp_path, durability=durability) as server, Client(server.address) as client:
        assert all(client.status(handle).known for handle in handles)
        assert client.submit_background("other") not in handles
        assert run_all(server.address) == [name + b"%d" % i for name in names.values() for i in range(3)]
    with durable_server(tmp_path, durability=durability) as server, Client(server.address) as client:
        assert not any(client.status(handle).known for handle in handles)
        assert run_all(server.address, "other") == [b""]


def test_all_of_a_job_comes_back(tmp_path: Path) -> None:
    """Whatever bytes they are, and those without a unique apart."""
    data = bytes(range(256)) * 100
    with durable_server(tmp_path) as server, Peer(server.address) as peer:
        for args in (
            (b"f-\xff", b"u\xfe", data),
            (b"f-\xff", b"", b"1"),
            (b"f-\xff", b"", b"2"),
            (b"f-\xff", b"-", b"3"),
        ):
            peer.send("SUBMIT_JOB_BG", *args)
            assert peer.receive()[0] == "JOB_CREATED"
        peer.send("SUBMIT_REDUCE_JOB_BACKGROUND", b"f-\xff", b"", b"reducer", b"", b"4")
        assert peer.receive()[0] == "JOB_CREATED"
    with durable_server(tmp_path) as server, Peer(server.address) as peer:
        peer.send("SUBMIT_JOB_BG", b"f-\xff", b"u\xfe", b"the same")
        assert peer.receive()[0] == "JOB_CREATED"
        peer.send("CAN_DO", b"f-\xff")
        found = []
        for _ in range(5):
            peer.send("GRAB_JOB_ALL")
            found.append(peer.receive())
        assert [(args[2], args[-1]) for _, args in found] == [
            (b"u\xfe", data), (b"", b"1"), (b"", b"2"), (b"-", b"3"), (b"", b"4"),
        ]  # fmt: skip
        assert found[-1][0] == "JOB_ASSIGN_ALL" and found[-1][1][3] == b"reducer"
        peer.send("GRAB_JOB")
        assert peer.receive()[0] == "NO_JOB"


def test_delayed_jobs_come_back_and_run_when_they_are_due(tmp_path: Path) -> None:
    with durable_server(tmp_path) as server, Client(server.address) as client:
        client.submit_background("f", b"later", at=time.time() + 1.2)
        client.submit_background("f", b"much later", at=time.time() + 1000)
    with durable_server(tmp_path) as server:
        assert run_all(server.address) == []
        deadline = time.monotonic() + 10
        while (found := run_all(server.address)) == []:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert found == [b"later"]


def test_a_clock_that_was_set_back_gives_no_handle_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handles = []
    for _ in range(3):
        with durable_server(tmp_path) as server, Client(server.address) as client:
            handles.append(client.submit_background("f"))
            run_all(server.address)
        monkeypatch.setattr("fastgear.server.server.time.time_ns", lambda: 0)
    assert sorted(set(handles), key=lambda handle: int(handle.rpartition(":")[2])) == handles


def test_a_job_that_the_store_cannot_take_costs_only_itself() -> None:
    store = StubbornStore()
    with Server(HERE, store=store) as server, Client(server.address) as client:
        store.error = StoreError("a workload of two gigabytes is too large")
        assert "too large" in refusal(client)
        store.error = None
        deadline = time.monotonic() + 5
        while True:
            with contextlib.suppress(ServerError):
                client.submit_background("f", b"small")
                break
            assert time.monotonic() < deadline
        assert run_all(server.address) == [b"small"]


def test_a_running_job_is_given_out_again_and_a_stop_in_good_order_is_no_attempt(tmp_path: Path) -> None:
    with durable_server(tmp_path) as server, Client(server.address) as client:
        client.submit_background("f", b"x")
    for _ in range(3):
        with contextlib.ExitStack() as stack, durable_server(tmp_path, dead_after=1) as server:
            peer = stack.enter_context(Peer(server.address))  # which outlives the server
            peer.send("CAN_DO", b"f")
            peer.send("GRAB_JOB")
            assert peer.receive()[0] == "JOB_ASSIGN"
    with durable_server(tmp_path) as server:
        assert run_all(server.address) == [b"x"]


def test_a_job_that_costs_too_many_workers_is_put_aside(tmp_path: Path) -> None:
    with durable_server(tmp_path, dead_after=3) as server, Client(server.address) as client:
        handle = client.submit_background("f", b"poison")
        for _ in range(3):
            with Peer(server.address) as peer:
                peer.send("CAN_DO", b"f")
                peer.send("GRAB_JOB")
                assert peer.receive()[0] == "JOB_ASSIGN"
            deadline = time.monotonic() + 5
            while client.status(handle).running:
                assert time.monotonic() < deadline
        assert run_all(server.address) == []
        assert server.snapshot().counters["dead_total"] == 1
    with SqliteStore(tmp_path / "jobs.db") as store:
        (dead,) = store.dead()
        assert (dead.job.workload, dead.job.attempts) == (b"poison", 3)
        assert dead.reason == "its worker was lost, or the server ended under it, 3 times in all"


def test_a_job_that_takes_the_server_with_it_is_put_aside_too(tmp_path: Path) -> None:
    given_out = 0
    options = (f"--store={tmp_path}/jobs.db", "--dead-after=2")
    for life in range(4):
        with run_server("fastgear", tmp_path, *options, may_end=True) as server, Peer(server.address) as peer:
            if life == 0:
                peer.send("SUBMIT_JOB_BG", b"f", b"", b"poison")
                assert peer.receive()[0] == "JOB_CREATED"
            peer.socket.sendall(request("CAN_DO", b"f") + request("GRAB_JOB"))
            given_out += peer.receive()[0] == "JOB_ASSIGN"
            peer.send("SUBMIT_JOB_BG", b"other", b"", b"")  # its acknowledgement means that the attempt is stored
            assert peer.receive()[0] == "JOB_CREATED"
            os.kill(server.pid, signal.SIGKILL)
    assert given_out == 2
    with SqliteStore(tmp_path / "jobs.db") as store:
        assert [(dead.job.workload, dead.job.attempts) for dead in store.dead()] == [(b"poison", 2)]


def test_kill_9_loses_no_acknowledged_job(tmp_path: Path) -> None:
    """benchmarks/durable_kills.py does so a thousand times."""
    random.seed(7)
    acknowledged: set[bytes] = set()
    done: set[bytes] = set()
    for cycle in range(8):
        with run_server("fastgear", tmp_path, f"--store={tmp_path}/jobs.db", may_end=True) as server:
            killer = threading.Timer(random.uniform(0.02, 0.15), os.kill, (server.pid, signal.SIGKILL))
            killer.start()
            with Peer(server.address) as client, Peer(server.address) as worker:
                worker.send("CAN_DO", b"f")
                try:
                    for i in range(10_000):
                        name = b"%d-%d" % (cycle, i)
                        client.send("SUBMIT_JOB_BG", b"f", name, name)
                        assert client.receive()[0] == "JOB_CREATED"
                        acknowledged.add(name)
                        if i % 2:
                            worker.send("GRAB_JOB")
                            done.add(worker.receive()[1][2])
                except (OSError, AssertionError):  # it was killed
                    pass
            killer.join()
    with run_server("fastgear", tmp_path, f"--store={tmp_path}/jobs.db") as server:
        left = run_all(server.address)
    assert acknowledged <= done | set(left)
    assert len(left) == len(set(left))


@pytest.mark.parametrize("durability", ["full", "on-shutdown"])
def test_workloads_over_the_limit_stay_on_disk_until_a_worker_takes_them(tmp_path: Path, durability: str) -> None:
    data = [random.Random(i).randbytes(100_000) for i in range(100)]
    with durable_server(tmp_path, store_memory=1_000_000, durability=durability) as server:
        with Client(server.address) as client:
            for one in data[:90]:
                client.submit_background("f", one)
            assert server.snapshot().counters["memory_bytes"] < 2_000_000
        assert run_all(server.address) == data[:90]
        with Client(server.address) as client:
            for one in data:
                client.submit_background("f", one)
    with durable_server(tmp_path, store_memory=1_000_000, durability=durability) as server:
        assert server.snapshot().counters["memory_bytes"] < 2_000_000
        assert run_all(server.address) == data
        assert server.snapshot().counters["memory_bytes"] < 100_000


# -- a slow store -------------------------------------------------------------------------------------------------------


@pytest.mark.alone("a second or less is measured")
def test_nobody_but_who_submits_durable_jobs_feels_a_slow_store(tmp_path: Path) -> None:
    store = StubbornStore(pause_s=2.0)
    with Server(HERE, store=store) as server, Client(server.address) as client, Client(server.address) as other:
        worker = Worker(server.address)
        worker.register("f", lambda job: job.workload)
        thread = threading.Thread(target=worker.run)
        thread.start()
        begin = time.monotonic()
        waiting = threading.Thread(target=client.submit_background, args=("g",))
        waiting.start()
        times = []
        while time.monotonic() < begin + 1.5:
            start = time.perf_counter()
            assert other.submit("f", b"x").result(5) == b"x"
            times.append(time.perf_counter() - start)
        waiting.join()
        assert time.monotonic() - begin >= 2.0
        assert store.appends == 1
        assert statistics.quantiles(times, n=100)[98] < 0.2
        worker.stop()
        thread.join()


def test_submissions_that_come_together_are_written_together() -> None:
    store = StubbornStore(pause_s=0.2)
    with Server(HERE, store=store) as server, Peer(server.address) as peer:
        for i in range(1000):
            peer.send("SUBMIT_JOB_BG", b"f", b"", b"%d" % i)
        assert [peer.receive()[0] for _ in range(1000)] == ["JOB_CREATED"] * 1000
        assert store.appends <= 4
        assert server.snapshot().counters["commits_total"] == store.appends


def test_a_stop_waits_for_what_is_being_written() -> None:
    store = StubbornStore(pause_s=0.5)
    server = Server(HERE, store=store)
    server.start()
    with Peer(server.address) as peer:
        peer.send("SUBMIT_JOB_BG", b"f", b"", b"x")
        time.sleep(0.1)
        server.stop()
        assert peer.receive()[0] == "JOB_CREATED"
    assert store.closed
    with Server(HERE, store=store) as server:
        assert run_all(server.address) == [b"x"]


# -- trouble ------------------------------------------------------------------------------------------------------------


def refusal(client: Client) -> str:
    with pytest.raises(ServerError) as caught:
        client.submit_background("f")
    assert caught.value.code == "QUEUE_ERROR"
    return caught.value.text


def test_trouble_is_told_once_and_service_comes_back_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    store = StubbornStore()
    with Server(HERE, store=store) as server, Client(server.address) as client:
        before = client.submit_background("f", b"before")
        store.error = StoreTrouble("the disk is full")
        with caplog.at_level(logging.WARNING):
            for _ in range(5):
                assert refusal(client) == "The store cannot take the job: the disk is full"
                time.sleep(0.05)
            assert run_all(server.address) == [b"before"], "all else goes on"
            store.error = None
            deadline = time.monotonic() + 5
            while True:
                try:
                    client.submit_background("f", b"after")
                    break
                except ServerError:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
        assert [record.message for record in caplog.records] == [
            "the store has trouble: the disk is full; background jobs are refused until it works again",
            "the store works again",
        ]
        assert not client.status(before).known
    with Server(HERE, store=store) as server:
        assert run_all(server.address) == [b"after"], "the end of the first one was written in the end"


def test_a_drain_beside_a_store_in_trouble_tries_now_and_then_only() -> None:
    store = StubbornStore()
    with Server(HERE, store=store) as server, Peer(server.address) as peer:
        peer.socket.sendall(request("CAN_DO", b"f") + request("SUBMIT_JOB_BG", b"f", b"", b"x"))
        assert peer.receive()[0] == "JOB_CREATED"
        store.error = StoreTrouble("the disk is full")
        peer.send("GRAB_JOB")
        assert peer.receive()[0] == "JOB_ASSIGN"
        before = store.appends
        well_again = threading.Timer(0.9, setattr, (store, "error", None))
        well_again.start()
        server.stop(drain=1.5)
        well_again.join()
        assert 1 <= store.appends - before <= 10


def test_a_full_store_hears_of_ends_and_the_log_says_once_that_it_is_full(caplog: pytest.LogCaptureFixture) -> None:
    store = StubbornStore()
    with caplog.at_level(logging.WARNING), Server(HERE, store=store) as server, Client(server.address) as client:
        client.submit_background("f", b"before")
        store.error, store.unwell = StoreFull("the disk is full"), "the disk is full"
        assert "the disk is full" in refusal(client)
        assert run_all(server.address) == [b"before"]
        wait_until(lambda: not list(store.replay()), 5)
        for _ in range(5):
            assert "the disk is full" in refusal(client)
            time.sleep(0.05)
        assert server.snapshot().counters["store_in_trouble"] == 1
        store.error, store.unwell = None, ""
        wait_until(lambda: server.snapshot().counters["store_in_trouble"] == 0, 5)
        client.submit_background("f", b"after")
        assert [record.message for record in caplog.records] == [
            "the store has trouble: the disk is full; background jobs are refused until it works again",
            "the store works again",
        ]


def test_jobs_that_no_server_can_serve_are_put_aside(caplog: pytest.LogCaptureFixture) -> None:
    """gearmand takes functions without a name, for example, and its queue is taken over."""
    store = MemoryStore()
    odd: list[tuple[object, ...]] = [
        (1, b"", b"", None, b"w", 1, 0, 0, 1),
        (2, b"f" * 513, b"", None, b"w", 1, 0, 0, 1),
        (3, b"f", b"u" * 65, None, b"w", 1, 0, 0, 1),
        (4, b"f\0g", b"", None, b"w", 1, 0, 0, 1),
        (5, b"f", b"", b"r" * 513, b"w", 1, 0, 0, 1),
        (6, b"f", b"", None, b"w", 7, 0, 0, 1),
        (7, "text", b"", None, b"w", 1, 0, 0, 1),
        (8, b"f", b"", None, b"good", 1, 0, 0, 1),
    ]
    store.append(Batch(odd))  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING), Server(HERE, store=store) as server:
        assert run_all(server.address) == [b"good"]
    assert "jobs are put aside: 7" in caplog.text
    reasons = {one.job.number: one.reason for one in store.dead()}
    assert list(reasons) == [1, 2, 3, 4, 5, 6, 7]
    assert reasons[1] == "no server can serve it: its function's name has 0 bytes, of 1 to 512, and none may be NUL"


def test_workloads_are_brought_while_the_store_cannot_write() -> None:
    store = StubbornStore()
    config = ServerConfig(listen=(HERE,), store_memory=1000)
    with Server(config=config, store=store) as server, Client(server.address) as client:
        for _ in range(3):
            client.submit_background("f", b"x" * 600)
        store.error = StoreTrouble("the file is locked")
        assert "locked" in refusal(client)
        assert run_all(server.address) == [b"x" * 600] * 3
        store.error = None


class Nameless(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, Nameless])
def test_whatever_a_store_raises_clients_get_an_answer(error: type[BaseException]) -> None:
    store = StubbornStore()
    with Server(HERE, store=store) as server, Client(server.address, timeout=10) as client:
        store.error = error()  # type: ignore[assignment]
        assert "The store cannot take the job" in refusal(client)


def test_a_store_that_does_not_come_back_does_not_hold_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgear.server.writer._JOIN_S", 0.2)
    store, hang = StubbornStore(), threading.Event()
    monkeypatch.setattr(store, "close", hang.wait)
    server = Server(HERE, store=store)
    server.start()
    try:
        with pytest.raises(StoreLost, match="has not come back"):
            server.stop()
        assert not server.running
    finally:
        hang.set()


def test_a_store_in_trouble_at_its_end_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    store = StubbornStore()
    server = Server(HERE, store=store)
    server.start()
    store.error = StoreTrouble("the file is locked")
    threading.Timer(0.5, setattr, (store, "error", None)).start()
    server.stop()
    assert store.closed and "it is to be closed, and is tried again" in caplog.text


def test_a_program_that_ends_without_a_stop_still_writes_what_is_written_at_the_end(tmp_path: Path) -> None:
    program = f"""
import sys, fastgear
server = fastgear.Server({HERE!r}, config=fastgear.ServerConfig(store={str(tmp_path / "jobs.db")!r}, durability="on-shutdown"))
server.start()
fastgear.Client(server.address).submit_background("f", b"kept")
sys.exit()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=tmp_path)
    with durable_server(tmp_path) as server:
        assert run_all(server.address) == [b"kept"]


def test_jobs_of_a_server_that_is_gone_are_taken_over(caplog: pytest.LogCaptureFixture) -> None:
    shared: list[MemoryStore] = []
    with Server(HERE, store=MemoryStore(shared)) as server, Client(server.address) as client:
        client.submit_background("f", b"left")
    with caplog.at_level(logging.WARNING), Server(HERE, store=MemoryStore(shared)) as server:
        assert "jobs of servers that are gone are taken over: 1" in caplog.text
        assert run_all(server.address) == [b"left"]


@pytest.mark.parametrize("kind", [StoreLost, RuntimeError])
def test_after_a_failure_for_good_only_durable_jobs_are_refused(kind: type[Exception]) -> None:
    store = StubbornStore()
    with Server(HERE, store=store) as server, Client(server.address) as client:
        client.submit_background("f", b"before")
        store.error = kind("fsync failed")
        assert "fsync failed" in refusal(client)
        store.error, appends = None, store.appends
        assert "fsync failed" in refusal(client)
        assert run_all(server.address) == [b"before"]
        assert store.appends == appends, "it is not tried again"
    with Server(HERE, store=store) as server:
        assert run_all(server.address) == [b"before"], "it runs at least once"


def test_a_stop_that_cannot_store_what_it_should_raises_and_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    store = StubbornStore()
    server = Server(HERE, store=store)
    server.start()
    store.error = StoreTrouble("the disk is full")
    monkeypatch.setattr("fastgear.server.writer._CLOSING_S", 0.2)
    with pytest.raises(StoreLost, match="what it had not written is lost: the disk is full"):
        server.stop()
    assert not server.running
    server.stop()


def test_ends_that_a_store_in_trouble_did_not_hear_of_are_told_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastgear.server.writer._CLOSING_S", 0.2)
    store = StubbornStore()
    server = Server(HERE, store=store)
    server.start()
    with Client(server.address) as client:
        client.submit_background("f", b"before")
        store.error = StoreTrouble("the disk is full")
        assert run_all(server.address) == [b"before"]
        assert "the disk is full" in refusal(client)
    with caplog.at_level(logging.ERROR), pytest.raises(StoreLost):
        server.stop()
    assert "jobs whose end it did not hear of will run again" in caplog.text
    store.error = None
    with Server(HERE, store=store) as server:
        assert run_all(server.address) == [b"before"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_serve_fails_when_it_cannot_store_what_it_should_at_its_end(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, f"--listen={HERE}", "--store=jobs.db", "--durability=on-shutdown") as server:
        with server.peer() as peer:
            peer.send("SUBMIT_JOB_BG", b"f", b"", b"x")
            assert peer.receive()[0] == "JOB_CREATED"
        (tmp_path / "jobs.db").unlink()
        if number == signal.SIGUSR1:
            assert run_all(server.address) == [b"x"], "it waits for the jobs"
        code, log = server.stop(number)
    assert code == 1
    lines = [line for line in log.splitlines() if "what it had not written is lost" in line]
    assert len(lines) == 1 and lines[0].startswith("fastgear serve: the store did not close well")


def test_a_store_that_another_server_has_is_not_opened(tmp_path: Path) -> None:
    with durable_server(tmp_path) as server:
        address = server.address
        other = Server(config=ServerConfig(listen=(HERE,), store=str(tmp_path / "jobs.db")))
        with pytest.raises(StoreInUse):
            other.start()
        assert not other.running
        with Client(address) as client:
            client.submit_background("f")


def test_a_server_that_cannot_have_its_store_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_text("this is no database, and long enough to be sure of it" * 10)
    with pytest.raises(StoreError, match=r"jobs\.db"), durable_server(tmp_path):
        pass


# -- the process around it ----------------------------------------------------------------------------------------------


def test_a_fork_keeps_its_hands_off_the_store(tmp_path: Path) -> None:
    with durable_server(tmp_path) as server, Client(server.address) as client:
        client.submit_background("f", b"1")
        pid = os.fork()
        if pid == 0:
            server.stop()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        client.submit_background("f", b"2")
        with pytest.raises(StoreInUse):
            Server(config=ServerConfig(listen=(HERE,), store=str(tmp_path / "jobs.db"))).start()
    with durable_server(tmp_path) as server:
        assert run_all(server.address) == [b"1", b"2"]


def test_a_connection_without_a_socket_submits_durable_jobs(tmp_path: Path) -> None:
    with durable_server(tmp_path) as server:
        local = server.connect()
        local.send(request("SUBMIT_JOB_BG", b"f", b"", b"x") + request("ECHO_REQ", b"behind"))
        found, rest = [], b""
        deadline = time.monotonic() + 10
        while len(found) < 2:
            assert time.monotonic() < deadline
            more, rest = cut(rest + local.receive(1.0))
            found += more
        assert [name for name, _ in found] == ["JOB_CREATED", "ECHO_RES"]
        local.close()
    with durable_server(tmp_path) as server:
        assert run_all(server.address) == [b"x"]


def test_who_hangs_up_its_side_still_gets_its_answer() -> None:
    with Server(HERE, store=StubbornStore(pause_s=0.3)) as server, Peer(server.address) as peer:
        peer.send("SUBMIT_JOB_BG", b"f", b"", b"x")
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.receive()[0] == "JOB_CREATED"


def use(address: str, round_: int) -> None:
    """Jobs of each kind, each with its end; connections and functions that come and go."""
    worker = Worker(address)
    worker.register("well", lambda job: job.workload[:10])
    worker.register("failing", fail)
    with working(worker, 10), Client(address) as client, AdminClient(address) as admin:
        for number in range(300):
            workload = bytes(1_500_000 if number % 100 == 0 else 100)
            function, unique = ("well", "failing")[number % 9 == 0], f"{number % 20}" if number % 2 else None
            client.submit_background(function, workload, unique=unique, priority=random.choice(list(Priority)))
            if number % 5 == 0:
                client.submit(function, workload, unique=unique).exception(20)
                admin.cancel(client.submit_background("nobody", workload))
        admin.create_function(f"new{round_}")
        admin.drop_function(f"new{round_}")
        until(lambda: admin.counters()["queued"] + admin.counters()["running"] == 0)


def fail(job: WorkerJob) -> bytes:
    raise JobFailed("as it should")


@pytest.mark.skipif(not counting, reason="only builds for debugging count allocations")
def test_what_is_over_is_not_kept(tmp_path: Path) -> None:
    """To the allocation, while the server goes on."""
    with durable_server(tmp_path) as server:
        use(server.address, 0)
        time.sleep(0.5)  # until the store has written the last ends
        before = live_allocations()
        for round_ in range(1, 4):
            use(server.address, round_)
            until(lambda: live_allocations() == before, f"{live_allocations()} allocations to be {before} again")
