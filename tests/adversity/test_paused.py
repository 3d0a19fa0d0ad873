# SPDX-License-Identifier: MIT
"""Two servers, one of which stands still (SIGSTOP): its kernel takes connections and bytes, and nobody answers."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers import RunningServer, run_server
from serving import until, working

from fastgear import AdminClient, Client, ConnectionLost, JobTimeout, Worker, aio

pytestmark = [
    pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="starts fastgear's servers"),
    pytest.mark.alone("clients that wait half a second must not time out on the server that is well"),
]

TIMEOUT_S = 0.5  # of the clients
PATIENCE_S = 10.0
LONG_S = 3.0  # that a server stands still, at least


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[RunningServer]]:
    with ExitStack() as stack:
        found = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            found.append(stack.enter_context(run_server("fastgear", tmp_path / name)))
        yield found


def is_stopped(pid: int | None) -> bool:
    """Each of its threads: the loop's goes on until the one that got the signal has had its turn."""
    return all("State:\tT" in (task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir())


@contextmanager
def paused(server: RunningServer) -> Iterator[None]:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        until(lambda: is_stopped(server.pid), "the pause")
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.fixture
def ran() -> Counter[bytes]:
    return Counter()


@pytest.fixture
def worker(servers: list[RunningServer], ran: Counter[bytes]) -> Iterator[Worker]:
    """One that serves both."""
    made = Worker(*(server.address for server in servers))

    @made.function("f")
    def f(job: Any) -> bytes:
        ran[job.workload] += 1
        return bytes(job.workload[::-1])

    with working(made, PATIENCE_S):
        yield made


def submitted(server: RunningServer) -> int:
    with AdminClient(server.address) as admin:
        return admin.counters()["submitted_total"]


def seconds_of(call: Any) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start


class Account:
    """What became of the jobs that were submitted, by workload."""

    def __init__(self) -> None:
        self.number = 0
        self.acknowledged: list[bytes] = []
        self.in_doubt: list[bytes] = []
        self.answered = 0

    def next(self) -> bytes:
        self.number += 1
        return b"job %d" % self.number

    def check(self, ran: Counter[bytes]) -> None:
        """Nothing is lost, nothing has run twice, and what is in doubt may have run."""
        until(lambda: all(ran[workload] for workload in self.acknowledged), "all that was acknowledged")
        assert set(ran.values()) == {1}
        assert set(ran) <= {*self.acknowledged, *self.in_doubt}


def submit_both_kinds(client: Client, account: Account) -> None:
    for workload, background in ((account.next(), True), (account.next(), False)):
        try:
            if background:
                client.submit_background("f", workload, unique=workload)
            else:
                assert client.submit("f", workload).result(timeout=PATIENCE_S) == workload[::-1]
                account.answered += 1
            account.acknowledged.append(workload)
        except (JobTimeout, ConnectionLost):
            account.in_doubt.append(workload)


def test_a_client_and_a_worker_go_on_with_the_other(
    servers: list[RunningServer], worker: Worker, ran: Counter[bytes]
) -> None:
    """A server that is silent costs its time-out once, and is used again when it has spoken."""
    account = Account()
    with Client(*(server.address for server in servers), timeout=TIMEOUT_S) as client:
        for _ in range(10):
            submit_both_kinds(client, account)
        assert not account.in_doubt and all(submitted(server) >= 4 for server in servers)
        with paused(servers[0]):
            begin, before = time.monotonic(), account.answered
            slow = 0
            while time.monotonic() - begin < LONG_S:
                slow += seconds_of(lambda: submit_both_kinds(client, account)) > TIMEOUT_S
            assert len(account.in_doubt) <= 1 and slow <= 1, "the time-out is waited for once"
            assert account.answered - before > 50
        before = submitted(servers[0])

        def is_used_again() -> bool:
            submit_both_kinds(client, account)
            return submitted(servers[0]) > before + 4

        until(is_used_again, "the use of a server that goes on")
        assert len(account.in_doubt) <= 1
        account.check(ran)


def test_asyncio_s_client_goes_on_with_the_other(
    servers: list[RunningServer], worker: Worker, ran: Counter[bytes]
) -> None:
    account = Account()

    async def submit(client: aio.Client) -> None:
        workload = account.next()
        try:
            job = await client.submit("f", workload, unique=workload)
            assert await job.result(timeout=PATIENCE_S) == workload[::-1]
            account.acknowledged.append(workload)
        except (JobTimeout, ConnectionLost):
            account.in_doubt.append(workload)

    async def main() -> None:
        async with aio.Client(*(server.address for server in servers), timeout=TIMEOUT_S) as client:
            for _ in range(10):
                await submit(client)
            assert not account.in_doubt
            with paused(servers[0]):
                begin, before = time.monotonic(), account.number
                while time.monotonic() - begin < LONG_S:
                    await submit(client)
                assert len(account.in_doubt) <= 1 and account.number - before > 50
            before = await asyncio.to_thread(submitted, servers[0])
            while await asyncio.to_thread(submitted, servers[0]) <= before + 4:
                await submit(client)
                assert time.monotonic() - begin < LONG_S + PATIENCE_S
            assert len(account.in_doubt) <= 1

    asyncio.run(main())
    account.check(ran)


def test_a_result_that_waits_for_a_paused_server_comes_once(
    servers: list[RunningServer], worker: Worker, ran: Counter[bytes]
) -> None:
    """A job that was acknowledged before the pause keeps its place: the wait times out, and a later one gets its result."""
    go = threading.Event()
    slow = Worker(servers[0].address)
    slow.register("slow", lambda job: str(go.wait(PATIENCE_S)))
    with working(slow, PATIENCE_S), Client(servers[0].address, timeout=TIMEOUT_S) as client:
        job = client.submit("slow")
        until(lambda: client.status(job.handle).running, "the job")
        with paused(servers[0]):
            go.set()
            with pytest.raises(JobTimeout):
                job.result(timeout=0.2)
        assert job.result(timeout=PATIENCE_S) == b"True"
        assert client.echo(b"and nothing else came") == b"and nothing else came"


def test_a_new_client_passes_over_a_paused_server(
    servers: list[RunningServer], worker: Worker, ran: Counter[bytes]
) -> None:
    """To find out takes the time-out. Most of the time is not spent on finding out again."""
    account = Account()
    with Client(*(server.address for server in servers), timeout=TIMEOUT_S) as client:
        with paused(servers[0]):
            begin = time.monotonic()
            slow = 0.0
            while time.monotonic() - begin < LONG_S:
                took = seconds_of(lambda: submit_both_kinds(client, account))
                slow += took if took > TIMEOUT_S else 0.0
            assert not account.in_doubt and account.answered > 20
            assert slow < 0.7 * LONG_S
        account.check(ran)


@pytest.mark.parametrize("by", ["tcp", "unix"])
def test_a_large_result_for_a_paused_server_holds_up_no_other(
    servers: list[RunningServer], ran: Counter[bytes], by: str
) -> None:
    addresses = [server.address if by == "tcp" else f"unix:{server.unix}" for server in servers]
    go, begun = threading.Event(), threading.Event()
    worker = Worker(*addresses)

    @worker.function("large")
    def large(job: Any) -> bytes:
        begun.set()
        go.wait(PATIENCE_S)
        return bytes(40 << 20)

    worker.register("f", lambda job: job.workload)
    with working(worker, PATIENCE_S), Client(addresses[0]) as one, Client(addresses[1]) as other:
        job = one.submit("large")
        assert begun.wait(PATIENCE_S)
        with paused(servers[0]):
            go.set()
            for number in range(20):
                assert other.submit("f", b"%d" % number).result(timeout=PATIENCE_S) == b"%d" % number
        assert len(job.result(timeout=2 * PATIENCE_S)) == 40 << 20
        assert one.submit("f", b"x").result(timeout=PATIENCE_S) == b"x"
