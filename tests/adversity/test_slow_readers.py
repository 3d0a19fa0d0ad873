# SPDX-License-Identifier: MIT
"""Peers that read slowly, late or not at all, over real sockets. fastgear's only."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from speak import cut, request

from fastgear import Client, Server, ServerConfig, Worker

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no limits to test")

MIB = 1 << 20


@pytest.fixture(params=["tcp", "unix"])
def listen(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/server"


def connect(server: Server) -> socket.socket:
    if server.address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(server.address.removeprefix("unix:"))
        return sock
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), 10)


def read_packets(sock: socket.socket, count: int, rest: bytes = b"") -> list[tuple[str, tuple[bytes, ...]]]:
    """So many packets, each of which may be large."""
    found, chunks, size = [], [rest], len(rest)
    wanted = 12
    while len(found) < count:
        data = sock.recv(1 << 18)
        assert data, f"closed after {len(found)} packets"
        chunks.append(data)
        size += len(data)
        if size < wanted:
            continue
        more, rest = cut(b"".join(chunks))
        found += more
        chunks, size = [rest], len(rest)
        wanted = 12 + int.from_bytes(rest[8:12], "big") if size >= 12 else 12
    return found


def submit(sock: socket.socket, count: int = 1) -> list[bytes]:
    sock.sendall(request("SUBMIT_JOB", b"f", b"", b"x") * count)
    return [args[0] for _, args in read_packets(sock, count)]


@pytest.fixture
def worker_thread() -> Iterator[list[Worker]]:
    """Workers put in here run until the test ends."""
    running: list[Worker] = []
    yield running
    for worker in running:
        worker.stop()


@pytest.mark.parametrize(("size", "count"), [(10 * MIB, 16), (60 * MIB, 2)])
def test_a_worker_may_prefetch_more_than_may_wait_for_it(listen: str, size: int, count: int) -> None:
    with Server(listen) as server, Client(server.address) as client:
        for _ in range(count):
            client.submit_background("f", bytes(size))
        worker = Worker(server.address, prefetch=count)
        sizes: list[int] = []

        @worker.function("f")
        def f(job: object) -> None:
            sizes.append(len(job.workload))  # type: ignore[attr-defined]
            if len(sizes) == count:
                worker.stop()

        thread = threading.Thread(target=worker.run)
        thread.start()
        thread.join(60)
        assert not thread.is_alive() and sizes == [size] * count
        assert server.snapshot().counters["lost_total"] == 0


def test_many_large_results_at_once_reach_a_client_that_takes_its_time(listen: str) -> None:
    with Server(listen, config=ServerConfig(max_output=8 * MIB)) as server:
        client, worker = connect(server), connect(server)
        handles = submit(client, 8)
        worker.sendall(request("CAN_DO", b"f") + request("GRAB_JOB") * 8)
        read_packets(worker, 8)
        sender = threading.Thread(
            target=lambda: [worker.sendall(request("WORK_COMPLETE", handle, bytes(20 * MIB))) for handle in handles]
        )
        sender.start()
        time.sleep(0.5)
        assert server.snapshot().counters["output_bytes"] < 60 * MIB
        results = read_packets(client, 8)
        assert [(name, args[0], len(args[1])) for name, args in results] == [
            ("WORK_COMPLETE", handle, 20 * MIB) for handle in handles
        ]
        sender.join(10)
        assert server.snapshot().counters["output_bytes"] == 0
        client.close()
        worker.close()


def test_a_client_that_never_reads_is_cut_off_and_its_worker_serves_others(listen: str) -> None:
    config = ServerConfig(max_output=MIB, output_timeout_s=1)
    with Server(listen, config=config) as server, Client(server.address) as other:
        stuck, worker = connect(server), connect(server)
        handles = submit(stuck, 4)
        worker.sendall(request("CAN_DO", b"f") + request("GRAB_JOB") * 4)
        read_packets(worker, 4)
        job = other.submit("f", b"")
        worker.sendall(request("GRAB_JOB"))
        ((_, (handle, *_)),) = read_packets(worker, 1)
        for each in handles:
            worker.sendall(request("WORK_COMPLETE", each, bytes(8 * MIB)))
        worker.sendall(request("WORK_COMPLETE", handle, b"for the other"))
        start = time.monotonic()
        assert job.result(timeout=5) == b"for the other"
        assert time.monotonic() - start < 3
        assert server.snapshot().counters["cut_off_total"] == 1
        stuck.close()
        worker.close()


def test_a_worker_that_hangs_up_while_it_is_held_costs_no_time(listen: str) -> None:
    """Its hang-up is known to the system and may not be looked at yet: the loop must not spin on it."""
    with Server(listen, config=ServerConfig(max_output=MIB, output_timeout_s=2)) as server:
        stuck, worker = connect(server), connect(server)
        handles = submit(stuck, 3)
        worker.sendall(request("CAN_DO", b"f") + request("GRAB_JOB") * 3)
        read_packets(worker, 3)
        for handle in handles:
            worker.sendall(request("WORK_COMPLETE", handle, bytes(4 * MIB)))
            time.sleep(0.05)
        worker.sendall(request("WORK_DATA", handles[0], b"refused"))
        time.sleep(0.2)
        worker.close()
        before = server.snapshot().counters["turns_total"]
        time.sleep(1)
        assert server.snapshot().counters["turns_total"] - before < 50
        stuck.close()
        deadline = time.monotonic() + 5
        while server.snapshot().counters["connections"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.snapshot().counters["connections"] == 0


def test_a_peer_that_is_well_and_does_not_read_for_a_while_is_left_alone() -> None:
    """TCP_USER_TIMEOUT itself would end the connection: its window is closed."""
    with Server("127.0.0.1:0", config=ServerConfig(user_timeout_s=1)) as server, connect(server) as sock:
        echo = request("ECHO_REQ", bytes(MIB))
        sender = threading.Thread(target=sock.sendall, args=(echo * 12,))
        sender.start()
        time.sleep(3.5)
        packets = read_packets(sock, 12)
        sender.join(10)
        assert [len(args[0]) for _, args in packets] == [MIB] * 12


def test_who_has_said_its_last_word_may_still_read_the_answer(listen: str) -> None:
    with Server(listen) as server, connect(server) as sock:
        sock.sendall(request("ECHO_REQ", bytes(30 * MIB)))
        sock.shutdown(socket.SHUT_WR)
        time.sleep(0.3)
        ((name, args),) = read_packets(sock, 1)
        assert (name, len(args[0])) == ("ECHO_RES", 30 * MIB)
        assert sock.recv(1) == b""


# -- the end of the server


@pytest.mark.parametrize("drain", [None, 10.0])
def test_a_large_last_answer_arrives_though_the_server_stops(listen: str, drain: float | None) -> None:
    with Server(listen) as server:
        client, worker = connect(server), connect(server)
        (handle,) = submit(client)
        worker.sendall(request("CAN_DO", b"f") + request("GRAB_JOB"))
        read_packets(worker, 1)
        stopper = threading.Thread(target=server.stop, kwargs={"drain": drain})
        if drain is not None:
            stopper.start()
            time.sleep(0.1)
        worker.sendall(request("WORK_COMPLETE", handle, bytes(30 * MIB)))
        if drain is None:
            worker.sendall(request("ECHO_REQ", b"the result is there"))
            read_packets(worker, 1)
            stopper.start()
        client.recv(1, socket.MSG_PEEK)  # the answer is on its way; what is asked now comes too late
        client.sendall(request("ECHO_REQ", b"unread by the server, perhaps"))
        time.sleep(0.1)
        found = read_packets(client, 1)
        assert (found[0][0], len(found[0][1][1])) == ("WORK_COMPLETE", 30 * MIB)
        stopper.join(5)
        assert not stopper.is_alive()
        client.close()
        worker.close()


@pytest.mark.parametrize(("drain", "limit"), [(None, 1.0), (float("inf"), 4.0)])
def test_a_peer_that_does_not_read_holds_up_the_stop_for_a_bounded_time(
    listen: str, drain: float | None, limit: float
) -> None:
    with Server(listen) as server, connect(server) as sock:
        sock.sendall(request("ECHO_REQ", bytes(20 * MIB)))
        time.sleep(0.3)
        assert server.snapshot().counters["output_bytes"] > MIB
        start = time.monotonic()
        server.stop(drain)
        assert time.monotonic() - start < limit


@pytest.mark.alone("a second or less is measured")
def test_idle_connections_do_not_hold_up_the_stop(listen: str) -> None:
    with Server(listen) as server:
        socks = [connect(server) for _ in range(50)]
        for sock in socks:
            sock.sendall(request("ECHO_REQ", b"x"))
        server.command("status")
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 0.5
        for sock in socks:
            sock.close()
