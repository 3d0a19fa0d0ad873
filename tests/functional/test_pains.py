# SPDX-License-Identifier: MIT
"""What users of Gearman have suffered from, by the numbers of docs/pains.md: those that no other test shows."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from core.conftest import Talk
from proxy import Proxy
from servers import RunningServer, run_server
from speak import Packet, cut, request

from fastgear import Client, ConnectionLost, JobFailed, JobTimeout, Worker, WorkerJob
from fastgear.addresses import Address
from fastgear.bench.bench import bench
from fastgear.bench.plan import Plan
from fastgear.testing import GearmanServer

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has these pains")

Run = Callable[[Worker], threading.Thread]


@pytest.fixture
def server() -> Iterator[GearmanServer]:
    with GearmanServer() as running:
        yield running


class Raw:
    """A connection that speaks packets; `read(n)` waits for so many."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), 5)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def say(self, *words: Any) -> Raw:
        self.sock.sendall(request(*words))
        return self

    def read(self, count: int) -> list[Packet]:
        found: list[Packet] = []
        while len(found) < count:
            data = self.sock.recv(1 << 20)
            assert data, "the server closed the connection"
            more, self.rest = cut(self.rest + data)
            found += more
        return found

    def ask(self, *words: Any) -> Packet:
        return self.say(*words).read(1)[0]

    def reset(self) -> None:
        """Gone as by kill -9."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


# -- hangs, stuck and lost jobs


def test_p1_a_worker_that_never_answers_beside_a_normal_one_does_not_stop_the_server(server: GearmanServer) -> None:
    with ExitStack() as stack:
        stuck, normal, client = (stack.enter_context(closing(Raw(server.address))) for _ in range(3))
        stuck.say("CAN_DO_TIMEOUT", b"f", b"1000")
        normal.say("CAN_DO_TIMEOUT", b"f", b"1000")
        took = []
        for _ in range(300):
            start = time.monotonic()
            _, (handle,) = client.ask("SUBMIT_JOB", b"f", b"", b"x")
            took.append(time.monotonic() - start)
            assert stuck.ask("GRAB_JOB")[0] == "JOB_ASSIGN"
            server.advance(1.1)
            assert normal.ask("GRAB_JOB")[1][0] == handle
            normal.say("WORK_COMPLETE", handle, b"done")
            assert client.read(1) == [("WORK_COMPLETE", (handle, b"done"))]
        assert statistics.median(took) < 0.1 and max(took) < 2
    assert server.jobs == ()


def test_p3_a_storm_of_connections_breaks_nothing(server: GearmanServer) -> None:
    words = [("CAN_DO", b"f"), ("PRE_SLEEP",), ("SUBMIT_JOB", b"f", b"u", b"x"), ("GRAB_JOB",), ("RESET_ABILITIES",)]

    def storm(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(200):
            one = Raw(server.address)
            one.sock.sendall(b"".join(request(*chance.choice(words)) for _ in range(chance.randrange(6))))
            one.reset() if chance.random() < 0.5 else one.close()

    threads = [threading.Thread(target=storm, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(Raw(server.address)) as one:
        one.ask("ECHO_REQ", b"still there")
        deadline = time.monotonic() + 5
        while server.snapshot().counters["connections"] > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.snapshot().counters["connections"] == 1
        assert (server.function("f").workers, server.jobs) == (0, ())


def test_p4_nobody_runs_in_circles_for_a_job_of_the_far_future(server: GearmanServer) -> None:
    with closing(Raw(server.address)) as worker, Client(server.address) as client:
        worker.say("CAN_DO", b"f")
        client.submit_background("f", b"", at=server.time + 100_000)
        assert worker.ask("GRAB_JOB") == ("NO_JOB", ())
        worker.say("PRE_SLEEP").ask("ECHO_REQ", b"asleep")
        before = server.snapshot().counters
        time.sleep(1.5)
        after = server.snapshot().counters
        assert after["packets_total"] == before["packets_total"]
        assert after["turns_total"] - before["turns_total"] < 10
        assert after["noops_total"] == 0


def test_p7_a_job_that_kills_its_workers_is_given_up_after_so_many(tmp_path: Path) -> None:
    kill = (
        "import os, sys, fastgear; w = fastgear.Worker(sys.argv[1]); w.register('f', lambda job: os._exit(1)); w.run()"
    )
    with GearmanServer(job_retries=3) as server, Client(server.address) as client:
        job = client.submit("f", b"")
        died = 0
        while server.jobs and died < 10:
            done = subprocess.run([sys.executable, "-c", kill, server.address], cwd=tmp_path, timeout=20, check=False)
            died += done.returncode == 1
        with pytest.raises(JobFailed):
            job.result(timeout=5)
        assert died == 3


@pytest.mark.alone("a second or less is measured")
def test_p8_two_hundred_workers_killed_in_mid_job_cost_no_job_and_no_time(server: GearmanServer) -> None:
    with closing(Raw(server.address)) as client, closing(Raw(server.address)) as good:
        good.say("CAN_DO", b"f")
        for _ in range(5):
            doomed = [Raw(server.address).say("CAN_DO", b"f") for _ in range(200)]
            for _ in doomed:
                client.say("SUBMIT_JOB", b"f", b"", b"x")
            handles = {args[0] for _, args in client.read(200)}
            assert {worker.ask("GRAB_JOB")[1][0] for worker in doomed} == handles
            for worker in doomed:
                worker.reset()
            start = time.monotonic()
            client.ask("ECHO_REQ", b"still there")
            assert time.monotonic() - start < 1
            for _ in range(200):
                while (found := good.ask("GRAB_JOB"))[0] == "NO_JOB":
                    time.sleep(0.001)
                good.say("WORK_COMPLETE", found[1][0], b"")
            assert sorted(args[0] for _, args in client.read(200)) == sorted(handles)
        assert good.ask("GRAB_JOB") == ("NO_JOB", ())
        assert server.jobs == ()


@pytest.mark.alone("a second or less is measured")
def test_p9_waiting_for_a_function_that_nobody_does_ends_in_time(server: GearmanServer) -> None:
    with Client(server.address) as client:
        job = client.submit("nobody", b"")
        start = time.monotonic()
        with pytest.raises(JobTimeout):
            job.result(timeout=0.2)
        assert 0.19 < time.monotonic() - start < 0.5


# -- time


def test_p13_delayed_jobs_start_by_themselves_when_they_are_due(server: GearmanServer) -> None:
    with closing(Raw(server.address)) as worker, closing(Raw(server.address)) as client:
        start = int(server.time) + 100
        for number in range(10_000):
            client.say("SUBMIT_JOB_EPOCH", b"f", b"", b"%d" % (start + number % 10), b"%d" % (number % 10))
        client.read(10_000)
        worker.say("CAN_DO", b"f")
        server.advance(start - server.time - 0.5)
        for second in range(10):
            assert worker.ask("GRAB_JOB") == ("NO_JOB", ())
            worker.say("PRE_SLEEP").ask("ECHO_REQ", b"asleep")
            server.advance(start + second - server.time)
            assert worker.read(1) == [("NOOP", ())], "and nobody submitted anything"
            for _ in range(1000):
                worker.say("GRAB_JOB")
            assigned = worker.read(1000)
            assert {args[2] for _, args in assigned} == {b"%d" % second}
            for _, (handle, *_) in assigned:
                worker.say("WORK_COMPLETE", handle, b"")


def cycles_ns(core: Any, functions: int = 1, cycles: int = 3000) -> float:
    """What one job costs, from its submission to its end, for a worker with so many abilities: the best of five."""
    client, worker = Talk(core), Talk(core)
    for number in range(functions):
        worker.send("CAN_DO", b"f%d" % number)
    submits, grabs = request("SUBMIT_JOB_BG", b"f0", b"", b"x") * cycles, request("GRAB_JOB") * cycles
    best = float("inf")
    for _ in range(5):
        core.receive(client.id, submits)
        results = b"".join(request("WORK_COMPLETE", args[0], b"") for _, args in client.heard())
        start = time.perf_counter_ns()
        core.receive(worker.id, grabs)
        core.receive(worker.id, results)
        best = min(best, time.perf_counter_ns() - start)
        assert {name for name, _ in worker.heard()} == {"JOB_ASSIGN"}
    client.leave()
    worker.leave()
    return best / cycles


def test_p14_delayed_jobs_do_not_slow_the_grabs(make_core: Callable[..., Any]) -> None:
    core, full = make_core(), make_core()
    client = Talk(full)
    for _ in range(5):
        full.receive(client.id, request("SUBMIT_JOB_EPOCH", b"f0", b"", b"1800000000", b"x") * 10_000)
        assert len(client.heard()) == 10_000
    assert cycles_ns(full) < 2 * cycles_ns(core)


def test_p33_ten_thousand_abilities_do_not_slow_the_grabs(make_core: Callable[..., Any]) -> None:
    assert cycles_ns(make_core(), functions=10_000) < 2 * cycles_ns(make_core())


# -- memory and descriptors


def drain(server: RunningServer, count: int) -> None:
    with closing(Raw(server.address)) as worker:
        worker.say("CAN_DO", b"f")
        for _ in range(count // 1000):
            worker.sock.sendall(request("GRAB_JOB") * 1000)
            done = b"".join(request("WORK_COMPLETE", args[0], b"") for _, args in worker.read(1000))
            worker.sock.sendall(done)
        assert worker.ask("GRAB_JOB") == ("NO_JOB", ())


gives_memory_back = pytest.mark.skipif(
    "os.environ.get('FASTGEAR_ASAN') == '1'", reason="the sanitizer keeps freed memory"
)


def falls(process: psutil.Process, most: float) -> bool:
    """Whether it comes to take less memory than that."""
    deadline = time.monotonic() + 5
    while process.memory_info().rss > most and time.monotonic() < deadline:
        time.sleep(0.1)
    return process.memory_info().rss < most


@gives_memory_back
def test_p34_a_burst_of_jobs_leaves_no_memory_behind(tmp_path: Path) -> None:
    with run_server("fastgear", tmp_path) as server, closing(Raw(server.address)) as client:
        process = psutil.Process(server.pid)
        before = process.memory_info().rss
        for _ in range(300):
            client.sock.sendall(request("SUBMIT_JOB_BG", b"f", b"", b"x" * 100) * 1000)
            client.read(1000)
        burst = process.memory_info().rss - before
        drain(server, 300_000)
        assert burst > 30 << 20
        assert falls(process, before + burst / 5)


@gives_memory_back
def test_large_packets_without_a_burst_leave_no_memory_behind(tmp_path: Path) -> None:
    with run_server("fastgear", tmp_path) as server, closing(Raw(server.address)) as client:
        process = psutil.Process(server.pid)
        client.ask("ECHO_REQ", b"x")
        before = process.memory_info().rss
        for size in range(1, 32):
            client.ask("ECHO_REQ", bytes(size * 160_000))
        while_large = process.memory_info().rss - before
        assert while_large > 16 << 20
        assert falls(process, before + (4 << 20))


@gives_memory_back
def test_large_packets_use_memory_again(tmp_path: Path) -> None:
    def do(jobs: int) -> None:
        bench(Address.parse(running.address), Plan(clients=1, workers=1, payload=2 << 20, count=jobs, warm_up=0))

    with run_server("fastgear", tmp_path) as running:
        do(5)
        before = page_faults(running.pid)
        do(20)
        assert page_faults(running.pid) - before < 20 * 1024 / 4, "fresh memory would be 1,024 pages for each"


def page_faults(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[7])


FEW_DESCRIPTORS = 256


def test_p40_and_p32_a_thousand_connections_on_256_descriptors(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(run_server("fastgear", tmp_path))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (FEW_DESCRIPTORS, FEW_DESCRIPTORS))
        there = stack.enter_context(closing(Raw(server.address)))
        there.ask("ECHO_REQ", b"before")
        others = []
        for _ in range(1000):
            with suppress(OSError):
                others.append(stack.enter_context(closing(socket.create_connection((server.host, server.port), 5))))
        told: set[socket.socket] = set()
        deadline = time.monotonic() + 10
        while len(told) < 1000 - FEW_DESCRIPTORS:
            assert time.monotonic() < deadline, len(told)
            told |= {one for one in others if told_so(one)}
        assert there.ask("ECHO_REQ", b"meanwhile") == ("ECHO_RES", (b"meanwhile",))
        log = (tmp_path / "server.log").read_text()
        assert len(log.splitlines()) < 10, "and no line for each"
    with run_server("fastgear", tmp_path) as again, closing(Raw(again.address)) as one:
        one.ask("ECHO_REQ", b"after")


def told_so(one: socket.socket) -> bool:
    """Whether it was turned away with a reason; who was let in hears nothing."""
    one.setblocking(False)
    try:
        return b"TOO_MANY_CONNECTIONS" in one.recv(1000)
    except OSError:
        return False


# -- the network


def test_p38_over_a_long_line_jobs_are_fetched_ahead(server: GearmanServer, run_worker: Run) -> None:
    with closing(Proxy(server.address, delay_s=0.02)) as proxy, closing(Raw(server.address)) as client:
        worker = Worker(proxy.address, prefetch=16)
        worker.register("f", lambda job: b"")
        run_worker(worker)
        for _ in range(400):
            client.say("SUBMIT_JOB", b"f", b"", b"")
        start = time.monotonic()
        client.read(800)
        assert time.monotonic() - start < 400 * 0.04 / 4, "a round trip takes 40 ms"
        worker.stop()


def test_p45_ipv6_literals(run_worker: Run, tmp_path: Path) -> None:
    from fastgear import AdminClient, Server

    with Server("[::1]:0") as server:
        assert server.address.startswith("[::1]:")
        worker = Worker(server.address, client_id="the worker")
        worker.register("f", lambda job: job.workload)
        run_worker(worker)
        with Client(server.address) as client, AdminClient(server.address) as admin:
            assert client.submit("f", b"x").result(timeout=5) == b"x"
            assert {one.address for one in admin.workers()} == {"::1"}
        command = [sys.executable, "-m", "fastgear", "workers", "--server", server.address]
        listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert "::1" in listed.stdout


def test_p49_a_submission_cut_at_any_byte_is_done_once_or_known_to_be_in_doubt(server: GearmanServer) -> None:
    known = 0
    for most in range(1, 120):
        function = f"f{most}"
        with closing(Proxy(server.address, most=most)) as proxy, Client(proxy.address, timeout=5) as client:
            try:
                client.submit_background(function, b"data")
                known += 1
            except ConnectionLost:
                assert server.function(function).total <= 1
            else:
                assert server.function(function).total == 1
    assert 0 < known < 100, "some are cut before they are whole, some after"


@pytest.mark.alone("a second or less is measured")
def test_p50_a_server_that_stands_still_keeps_no_worker_from_the_other(tmp_path: Path, run_worker: Run) -> None:
    with ExitStack() as stack:
        servers = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            servers.append(stack.enter_context(run_server("fastgear", tmp_path / name)))
        worker = Worker(*(server.address for server in servers))
        worker.register("f", lambda job: b"")
        run_worker(worker)
        first, second = (stack.enter_context(Client(server.address)) for server in servers)
        for client in (first, second):
            client.submit("f").result(timeout=5)
        os.kill(servers[0].pid, signal.SIGSTOP)
        try:
            for _ in range(20):
                second.submit("f").result(timeout=2)
        finally:
            os.kill(servers[0].pid, signal.SIGCONT)
        start = time.monotonic()
        first.submit("f").result(timeout=5)
        assert time.monotonic() - start < 1


@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)", "return"])
def test_p52_a_fork_in_a_job_does_not_end_it(server: GearmanServer, leave: str, tmp_path: Path) -> None:
    program = f"""
import os, sys, threading, time, fastgear
worker = fastgear.Worker(sys.argv[1])
def lock(locked, forked):  # as the thread does that has connected and says so
    with worker._wake_lock:
        locked.set()
        forked.wait()
def fork(job):
    locked, forked = threading.Event(), threading.Event()
    threading.Thread(target=lock, args=(locked, forked)).start()
    locked.wait()
    pid = os.fork()
    if pid == 0:
        {leave}
    forked.set()
    os.waitpid(pid, 0)
    time.sleep(0.1)
    return b"by the parent"
worker.register("fork", fork)
worker.run()
"""
    command = [sys.executable, "-c", program, server.address]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            with Client(server.address) as client:
                for _ in range(3):
                    assert client.submit("fork").result(timeout=10) == b"by the parent"
                assert server.snapshot().counters["lost_total"] == 0
            process.terminate()
            process.wait(10)
        finally:  # or else one that hangs, or its child, would be waited for for ever
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_p55_magic_words_and_odd_sizes_in_the_data(server: GearmanServer, run_worker: Run) -> None:
    def echo(job: WorkerJob) -> bytes:
        job.send_data(b"\0RES\0\0\0\x0d")
        return job.workload

    worker = Worker(server.address)
    worker.register("f", echo)
    run_worker(worker)
    chance = random.Random(55)
    with Client(server.address) as client:
        for size in range(65_470, 65_551):
            workload = bytearray(chance.randbytes(size))
            for word in (b"\0RES\0\0\0\x0d\0\0\0\0", b"\0REQ\0\0\0\x07\xff\xff\xff\xff", b"status\n"):
                at = chance.randrange(size - 20)
                workload[at : at + len(word)] = word
            assert client.submit("f", bytes(workload)).result(timeout=5) == workload
