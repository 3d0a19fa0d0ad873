# SPDX-License-Identifier: MIT
"""Connections without a socket: the same server, from threads of its own process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from speak import Packet, cut, request

from fastgear import Client, Server, Worker
from fastgear.server.local import Local
from fastgear.testing import GearmanServer

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand cannot be embedded")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("127.0.0.1:0") as running:
        yield running


def hear(local: Local, count: int, *, help: bool = True) -> list[Packet]:
    found: list[Packet] = []
    rest = b""
    deadline = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < deadline, found
        more, rest = cut(rest + local.receive(1.0, help))
        found += more
    return found


@pytest.mark.parametrize("help", [True, False], ids=["helping", "waiting"])
def test_a_job_of_a_local_client_is_run_by_a_worker_elsewhere(server: Server, help: bool) -> None:
    worker = Worker(server.address)
    worker.register("reverse", lambda job: job.workload[::-1])
    thread = threading.Thread(target=worker.run)
    thread.start()
    local = server.connect()
    for size in (0, 3, 20_000, 3_000_000):
        local.send(request("SUBMIT_JOB", b"reverse", b"", b"ab" * size))
        created, complete = hear(local, 2, help=help)
        assert created[0] == "JOB_CREATED" and complete == ("WORK_COMPLETE", (created[1][0], b"ba" * size))
    worker.stop()
    thread.join(10)
    local.close()
    assert server.snapshot().counters["connections"] == 0


def test_answers_come_from_the_turn_that_asked(server: Server) -> None:
    local = server.connect()
    local.send(request("ECHO_REQ", b"one") + request("ECHO_REQ", b"two")[:14])
    assert cut(local.receive(0)) == ([("ECHO_RES", (b"one",))], b"")
    local.send(request("ECHO_REQ", b"two")[14:])
    assert cut(local.receive(0)) == ([("ECHO_RES", (b"two",))], b"")
    assert local.receive(0) == b""
    local.close()


def test_a_large_packet_may_come_in_pieces(server: Server) -> None:
    local = server.connect()
    workload = bytes(range(256)) * 1000
    packet = request("SUBMIT_JOB_BG", b"f", b"", workload)
    for piece in (
        packet[:20_000],
        packet[20_000:70_000],
        packet[70_000:] + request("CAN_DO", b"f") + request("GRAB_JOB"),
    ):
        local.send(piece)
    created, assigned = hear(local, 2)
    assert created[0] == "JOB_CREATED" and assigned == ("JOB_ASSIGN", (created[1][0], b"f", workload))
    local.close()


def test_a_refusal_wakes_who_waits(server: Server) -> None:
    local = server.connect()
    heard: list[bytes] = []
    thread = threading.Thread(target=lambda: heard.append(local.receive(5.0)))
    thread.start()
    time.sleep(0.1)
    local.send(request("SUBMIT_JOB", b"", b"", b""))
    thread.join(1)
    assert b"INVALID_FUNCTION_NAME" in heard[0]
    local.close()


def test_others_are_served_while_a_thread_helps_and_after_it(server: Server) -> None:
    local = server.connect()
    with Client(server.address) as client:
        thread = threading.Thread(target=local.receive, args=(0.3, True))
        thread.start()
        for _ in range(2):
            for _ in range(20):
                assert client.echo(b"x") == b"x"
            thread.join()
    local.close()


def test_others_are_served_after_a_thread_helped_a_server_whose_clock_is_ahead() -> None:
    with GearmanServer() as server, Client(server.address) as client:
        server.advance(100)
        local = server.connect()
        for _ in range(20):
            local.receive(0.01, True)
            start = time.monotonic()
            assert client.echo(b"x") == b"x"
            assert time.monotonic() - start < 5
        local.close()


def test_many_threads_help_and_speak_at_once(server: Server) -> None:
    wrong: list[object] = []

    def talk(number: int) -> None:
        local = server.connect()
        for i in range(200):
            data = b"%d %d" % (number, i)
            local.send(request("ECHO_REQ", data))
            if hear(local, 1, help=number % 2 == 0) != [("ECHO_RES", (data,))]:
                wrong.append(data)
        local.close()

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong


def test_a_due_job_wakes_a_loop_that_waits_for_later(server: Server) -> None:
    worker = server.connect()
    local = server.connect()
    worker.send(request("OPTION_REQ", b"fastgear/wait") + request("CAN_DO", b"f") + request("GRAB_JOB"))
    worker.receive(0)
    time.sleep(0.1)
    local.send(request("SUBMIT_JOB_EPOCH", b"f", b"", b"%d" % (time.time() + 1), b"x"))
    assert hear(worker, 1, help=False)[0][0] == "JOB_ASSIGN"
    worker.close()
    local.close()


@pytest.mark.parametrize("help", [True, False])
def test_interrupt_ends_a_wait(server: Server, help: bool) -> None:
    local = server.connect()
    threading.Timer(0.1, local.interrupt).start()
    start = time.monotonic()
    assert local.receive(None, help) == b""
    assert 0.05 < time.monotonic() - start < 2
    local.close()


def test_ctrl_c_ends_a_helping_wait(server: Server) -> None:
    local = server.connect()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            local.receive(None, True)
    local.close()


@pytest.mark.parametrize("help", [True, False])
def test_the_end_of_the_server_ends_a_wait(help: bool) -> None:
    server = Server("127.0.0.1:0")
    server.start()
    local = server.connect()
    timer = threading.Timer(0.1, server.stop)
    timer.start()
    with pytest.raises(ConnectionResetError):
        while True:
            local.receive(None, help)
    with pytest.raises(ConnectionResetError):
        local.send(b"status\n")
    local.close()
    timer.join()
    with pytest.raises(RuntimeError, match="not running"):
        server.connect()


def test_what_a_local_worker_held_goes_back_when_it_closes(server: Server) -> None:
    client, first, second = server.connect(), server.connect(), server.connect()
    client.send(request("SUBMIT_JOB", b"f", b"", b"x"))
    for worker in (first, second):
        worker.send(request("OPTION_REQ", b"fastgear/wait") + request("CAN_DO", b"f") + request("GRAB_JOB"))
    first.close()
    assert [name for name, _ in hear(second, 2)] == ["OPTION_RES", "JOB_ASSIGN"]
    second.close()
    client.close()


def test_a_fork_while_a_thread_helps(server: Server) -> None:
    local = server.connect()
    done = threading.Event()

    def help_on() -> None:
        while not done.is_set():
            local.receive(0.05, True)

    thread = threading.Thread(target=help_on)
    thread.start()
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            try:
                local.send(b"status\n")
            except ConnectionResetError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with Client(server.address) as client:
        assert client.echo(b"x") == b"x"
    done.set()
    thread.join(5)
    local.close()


def test_several_threads_may_close_it(server: Server) -> None:
    for _ in range(300):
        local = server.connect()
        barrier = threading.Barrier(3)
        threads = [threading.Thread(target=lambda: (barrier.wait(), local.close())) for _ in range(3)]  # noqa: B023
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with Client(server.address) as client:
        assert client.echo(b"x") == b"x"
