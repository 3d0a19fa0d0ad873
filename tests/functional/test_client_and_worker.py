# SPDX-License-Identifier: MIT
"""fastgear's client and worker over real sockets, on fastgear's server and on gearmand."""

from __future__ import annotations

import datetime
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from servers import free_port, run_server

from fastgear import (
    AdminClient,
    Client,
    ConfigError,
    ConnectionLost,
    JobException,
    JobFailed,
    JobTimeout,
    LocalProtocolError,
    Priority,
    QueueFull,
    ServerError,
    Worker,
    WorkerJob,
)


@pytest.fixture
def reverser(server: Any, run_worker: Callable[[Worker], threading.Thread]) -> Worker:
    worker = Worker(server.address, client_id="reverser")
    worker.register("reverse", lambda job: job.workload[::-1])
    run_worker(worker)
    return worker


def test_a_foreground_job_gives_its_result(server: Any, reverser: Worker) -> None:
    with Client(server.address) as client:
        job = client.submit("reverse", b"hello")
        assert job.handle.startswith("H:")
        assert job.result(timeout=5) == b"olleh"
        assert job.done() and job.exception() is None
        assert repr(job) == f"<Job reverse {job.handle} complete>"


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 65_480, 65_510, 65_536, 1 << 20, 5_000_000])
def test_workloads_and_results_of_any_size_and_byte(server: Any, reverser: Worker, size: int) -> None:
    workload = (bytes(range(256)) * (size // 256 + 1))[:size]
    with Client(server.address) as client:
        assert client.submit("reverse", workload).result(timeout=20) == workload[::-1]


def test_status_data_and_warnings_arrive(server: Any, run_worker: Any) -> None:
    worker = Worker(server.address)

    @worker.function("talk")
    def talk(job: WorkerJob) -> None:
        with pytest.raises(ValueError, match="-1/2"):
            job.set_status(-1, 2)
        job.set_status(1, 2)
        job.send_data(b"a")
        job.send_data("b")
        job.warn("careful")

    run_worker(worker)
    with Client(server.address) as client:
        job = client.submit("talk")
        assert job.result(timeout=5) == b""
        assert job.data == (b"a", b"b")
        assert job.warnings == (b"careful",)
        assert (job.status.numerator, job.status.denominator, job.status.fraction) == (1, 2, 0.5)


def test_an_exception_arrives_with_its_remote_traceback(server: Any, run_worker: Any) -> None:
    worker = Worker(server.address)

    @worker.function("divide")
    def divide(job: WorkerJob) -> bytes:
        raise ZeroDivisionError("too small")

    run_worker(worker)
    with Client(server.address) as client:
        with pytest.raises(JobException, match="divide raised: ZeroDivisionError: too small") as caught:
            client.submit("divide").result(timeout=5)
        assert "in divide" in caught.value.remote_traceback
        assert "too small" in str(caught.value.__cause__)
    with Client(server.address, exceptions=False) as client, pytest.raises(JobFailed):
        client.submit("divide").result(timeout=5)


def test_a_worker_survives_what_its_functions_do(server: Any, run_worker: Any) -> None:
    worker = Worker(server.address)

    @worker.function("fail")
    def fail(job: WorkerJob) -> bytes:
        raise JobFailed("on purpose")

    worker.register("number", lambda job: 42)
    worker.register("text", lambda job: "täxt")
    run_worker(worker)
    with Client(server.address) as client:
        with pytest.raises(JobFailed):
            client.submit("fail").result(timeout=5)
        with pytest.raises(JobException, match="TypeError: the result of number is bytes, text or None, not int"):
            client.submit("number").result(timeout=5)
        assert client.submit("text").result(timeout=5) == "täxt".encode()


@pytest.mark.parametrize("prefetch", [1, 8])
def test_submit_many_yields_every_job_once(server: Any, run_worker: Any, prefetch: int) -> None:
    for _ in range(2):
        worker = Worker(server.address, prefetch=prefetch)
        worker.register("reverse", lambda job: job.workload[::-1])
        run_worker(worker)
    with Client(server.address) as client:
        results = sorted(
            job.result() for job in client.submit_many("reverse", (b"%d" % n for n in range(500)), window=50)
        )
    assert results == sorted((b"%d" % n)[::-1] for n in range(500))


def test_submit_many_consumes_no_more_than_its_window(server: Any, reverser: Worker) -> None:
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield b"x"

    with Client(server.address) as client:
        jobs = client.submit_many("reverse", endless(), window=20)
        for _ in range(30):
            next(jobs).result()
        assert taken <= 30 + 20


def test_background_jobs_and_their_status(server: Any) -> None:
    with Client(server.address) as client:
        handle = client.submit_background("nobody", b"x", unique="key")
        status = client.status(handle)
        assert (status.known, status.running, status.waiting_clients) == (True, False, None)
        by_unique = client.status_unique("key")
        assert (by_unique.known, by_unique.running, by_unique.waiting_clients) == (True, False, 0)
        assert not client.status("H:nobody:99").known
        assert not client.status_unique("other").known
        with pytest.raises(LocalProtocolError, match="1 to 63 bytes"):
            client.status("H:" + "x" * 70)


def test_jobs_of_one_unique_are_one_job(server: Any, run_worker: Any) -> None:
    runs = []
    worker = Worker(server.address)

    @worker.function("slow")
    def slow(job: WorkerJob) -> bytes:
        runs.append(job.unique)
        time.sleep(0.1)
        return b"done"

    with Client(server.address) as one, Client(server.address) as two:
        jobs = [
            one.submit("slow", b"1", unique="u"),
            two.submit("slow", b"2", unique="u"),
            one.submit("slow", unique="u"),
        ]
        assert len({job.handle for job in jobs}) == 1
        run_worker(worker)
        assert [job.result(timeout=5) for job in jobs] == [b"done"] * 3
    assert runs == ["u"]


@pytest.mark.differs("gearmand", "Debian's 1.1.20 looks at priorities within one function only")
def test_higher_priority_runs_first_across_functions(server: Any, run_worker: Any) -> None:
    order: list[str] = []
    with Client(server.address) as client:
        for name, priority in [("b", "low"), ("a", "normal"), ("b", "high"), ("a", "low"), ("b", Priority.NORMAL)]:
            client.submit_background(name, str(Priority(priority).value).encode(), priority=priority)
        worker = Worker(server.address)
        for name in ("a", "b"):
            worker.register(name, lambda job: order.append(job.workload.decode()))
        worker.register("last", lambda job: b"")
        last = client.submit("last", priority="low")
        run_worker(worker)
        last.result(timeout=5)
    assert order[0] == "high"
    assert order[1:3] == ["normal", "normal"]


@pytest.mark.differs("gearmand", "Debian's 1.1.20 does not wake sleeping workers when an epoch job falls due")
def test_a_delayed_job_runs_when_it_is_due(server: Any, run_worker: Any) -> None:
    ran: list[float] = []
    done = threading.Event()
    worker = Worker(server.address)

    @worker.function("later")
    def later(job: WorkerJob) -> None:
        ran.append(time.time())
        done.set()

    due = time.time() + 1.2
    with Client(server.address) as client:
        handle = client.submit_background("later", at=due)
        assert client.status(handle).known
    run_worker(worker)
    assert done.wait(5)
    assert due - 0.05 <= ran[0] <= due + 1.5


def test_timedelta_and_datetime_are_times_too(server: Any) -> None:
    with Client(server.address) as client:
        for at in (datetime.timedelta(hours=1), datetime.datetime.now() + datetime.timedelta(hours=1)):
            assert client.status(client.submit_background("never", at=at)).known
        with pytest.raises(ConfigError, match="at: "):
            client.submit_background("never", at=float("nan"))


def test_echo_and_options(server: Any) -> None:
    with Client(server.address) as client:
        assert client.echo(b"\0anything\xff") == b"\0anything\xff"
        client.option("exceptions")
        with pytest.raises(ServerError) as caught:
            client.option("nonsense")
        assert caught.value.code == "UNKNOWN_OPTION"
        assert client.echo(b"still there") == b"still there"


def test_a_timeout_does_not_end_the_job(server: Any, run_worker: Any) -> None:
    go = threading.Event()
    worker = Worker(server.address)
    worker.register("wait", lambda job: b"late" if go.wait(5) else b"never")
    run_worker(worker)
    with Client(server.address) as client:
        job = client.submit("wait")
        with pytest.raises(JobTimeout):
            job.result(timeout=0.05)
        assert not job.done()
        go.set()
        assert job.result(timeout=5) == b"late"


def test_the_limit_of_a_function(server: Any) -> None:
    with Client(server.address) as client, AdminClient(server.address) as admin:
        client.submit_background("few")
        admin.max_queue("few", 2)
        client.submit_background("few")
        with pytest.raises(QueueFull) as caught:
            client.submit_background("few")
        assert caught.value.function_name == "few"
        many = list(client.submit_many("few", [b"1", b"2"]))
        assert [type(job.exception()) for job in many] == [QueueFull, QueueFull]
        admin.max_queue("few")
        client.submit_background("few")
        for word in ("", "f w", "few\n"):
            with pytest.raises(LocalProtocolError, match="cannot be said in a text command"):
                admin.drop_function(word)
        with pytest.raises(LocalProtocolError, match="one line"):
            admin.command("status\nversion")
        assert [info.name for info in admin.status()] == ["few"]


@pytest.mark.differs("gearmand", "it takes names of any length")
def test_a_name_that_is_too_long_for_the_server_is_refused(server: Any) -> None:
    with Client(server.address) as client:
        with pytest.raises(ServerError, match="Function name too large") as caught:
            client.submit("f" * 2000)
        assert caught.value.code == "ARGUMENT_TOO_LARGE"
        assert client.echo(b"x") == b"x"


def test_bad_arguments_get_clear_errors(server: Any) -> None:
    with Client(server.address) as client:
        with pytest.raises(TypeError, match="encode it first"):
            client.submit("reverse", "text")  # type: ignore[arg-type]
        with pytest.raises(LocalProtocolError, match="NUL"):
            client.submit("re\0verse", b"")
        with pytest.raises(LocalProtocolError, match="needs a name"):
            client.submit("", b"")
        with pytest.raises(ConfigError, match="high, normal or low"):
            client.submit("reverse", b"", priority="urgent")
        with pytest.raises(LocalProtocolError, match="both delayed and reduced"):
            client.submit_background("reverse", b"", at=60, reducer="sum")
        assert client.echo(b"x") == b"x"
    with pytest.raises(RuntimeError, match="closed"):
        client.echo(b"x")


def test_no_server_there() -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(ConnectionLost, match=r"127\.0\.0\.1:1: Connection refused"):
        client.submit("reverse", b"")


def test_failover_goes_to_the_server_that_is_there(server: Any, reverser: Worker) -> None:
    with Client("127.0.0.1:1", server.address) as client:
        for n in range(10):
            assert client.submit("reverse", b"abc", unique=str(n)).result(timeout=5) == b"cba"


def test_a_broken_connection_names_the_jobs_in_doubt(start_server: Any) -> None:
    server = start_server()
    with Client(server.address) as client:
        jobs = [client.submit("nobody", b"x") for _ in range(3)]
        os.kill(server.pid, signal.SIGSTOP)
        os.kill(server.pid, signal.SIGCONT)
        client._connections[next(iter(client._connections))].stream._socket.shutdown(2)
        with pytest.raises(ConnectionLost) as caught:
            jobs[0].result(timeout=5)
        assert sorted(caught.value.handles) == sorted(job.handle for job in jobs)
        assert client.echo(b"again") == b"again"


def test_a_worker_comes_back_to_a_server_that_was_away(tmp_path: Path, server_kind: str, run_worker: Any) -> None:
    port = free_port()
    worker = Worker(f"127.0.0.1:{port}")
    worker.register("reverse", lambda job: job.workload[::-1])
    run_worker(worker)
    time.sleep(0.1)
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        with run_server(server_kind, folder, port=port) as server, Client(server.address) as client:
            assert client.submit("reverse", b"ab").result(timeout=10) == b"ba"


def test_two_servers_are_both_served(start_server: Any, run_worker: Any) -> None:
    servers = [start_server(), start_server()]
    worker = Worker(*(server.address for server in servers))
    worker.register("reverse", lambda job: job.workload[::-1])
    run_worker(worker)
    for server in servers:
        with Client(server.address) as client:
            assert client.submit("reverse", b"ab").result(timeout=5) == b"ba"


WORKER = """
import sys, time
from fastgear import Worker
worker = Worker(sys.argv[1], prefetch=int(sys.argv[2]))
@worker.function("slow")
def slow(job):
    job.set_status(1, 2)
    time.sleep(0.5)
    return b"done by the first"
worker.run()
print("left")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_job_in_hand_finish_and_gives_the_others_back(
    server: Any, run_worker: Any, number: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "w.py").write_text(textwrap.dedent(WORKER))
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "w.py"), server.address, "4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        with Client(server.address) as client:
            first = client.submit("slow", b"1")
            others = [client.submit("slow", b"2"), client.submit("slow", b"3")]
            while not first.status.denominator:
                first.wait(0.01)
            process.send_signal(number)
            assert first.result(timeout=5) == b"done by the first"
            out, err = process.communicate(timeout=5)
            assert (process.returncode, out) == (0, b"left\n"), err
            second = Worker(server.address)
            second.register("slow", lambda job: b"done by the second")
            run_worker(second)
            assert [job.result(timeout=5) for job in others] == [b"done by the second"] * 2
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.stderr.close()


def test_a_second_signal_ends_a_worker_at_once(server: Any, tmp_path: Path) -> None:
    (tmp_path / "w.py").write_text(textwrap.dedent(WORKER).replace("0.5", "30"))
    process = subprocess.Popen([sys.executable, str(tmp_path / "w.py"), server.address, "1"], stderr=subprocess.DEVNULL)
    with Client(server.address) as client:
        job = client.submit("slow")
        while not job.status.denominator:
            job.wait(0.01)
        process.terminate()
        time.sleep(0.2)
        assert process.poll() is None
        process.terminate()
        assert process.wait(5) == 128 + signal.SIGTERM


def test_a_killed_worker_costs_nothing_but_time(server: Any, run_worker: Any, tmp_path: Path) -> None:
    (tmp_path / "w.py").write_text(textwrap.dedent(WORKER).replace("0.5", "30"))
    process = subprocess.Popen([sys.executable, str(tmp_path / "w.py"), server.address, "1"])
    with Client(server.address) as client:
        job = client.submit("slow")
        while not job.status.denominator:
            job.wait(0.01)
        process.kill()
        process.wait()
        second = Worker(server.address)
        second.register("slow", lambda job: b"done by the second")
        run_worker(second)
        assert job.result(timeout=5) == b"done by the second"


@pytest.mark.skipif(
    "config.getoption('--server') == 'gearmand'", reason="once in ten times, on a busy machine, it wakes nobody for it"
)
def test_a_job_over_its_timeout_goes_to_another_worker(server: Any, run_worker: Any) -> None:
    begun, go = threading.Event(), threading.Event()
    first, second = Worker(server.address), Worker(server.address)

    @first.function("slow", timeout=1)
    def slow(job: WorkerJob) -> bytes:
        begun.set()
        go.wait(10)
        return b"first"

    with Client(server.address) as client:
        job = client.submit("slow")
        run_worker(first)
        assert begun.wait(5)
        second.register("slow", lambda job: b"second", timeout=1)
        run_worker(second)
        assert job.result(timeout=5) == b"second"
        go.set()
        assert client.submit("slow").result(timeout=5) in (b"first", b"second")


def test_the_child_of_a_fork_is_told_to_make_its_own_client(server: Any, reverser: Worker) -> None:
    with Client(server.address) as client:
        client.echo(b"x")
        pid = os.fork()
        if pid == 0:
            try:
                client.echo(b"y")
            except RuntimeError as error:
                os._exit(0 if "after the fork" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert client.submit("reverse", b"ab").result(timeout=5) == b"ba"


def test_closing_a_client_ends_the_waiting_for_its_jobs(server: Any) -> None:
    with Client(server.address) as client:
        job = client.submit("nobody")
    with pytest.raises(ConnectionLost, match="the client was closed") as caught:
        job.result(timeout=5)
    assert caught.value.handles == (job.handle,)


def test_an_iterable_that_raises_leaves_the_client_of_use(server: Any) -> None:
    def workloads() -> Iterator[bytes]:
        yield b"1"
        raise ValueError("mine")

    with Client(server.address, timeout=5) as client:
        with pytest.raises(ValueError, match="mine"):
            list(client.submit_many("f", workloads()))
        assert client.echo(b"still") == b"still"
        assert client.submit_background("g").startswith("H:")


def test_the_workloads_may_come_from_the_same_client(server: Any, reverser: Worker) -> None:
    with Client(server.address, timeout=5) as client:
        first = (client.submit("reverse", b"%d-" % n).result(timeout=5) + b"!" for n in range(20))
        results = sorted(job.result(timeout=5) for job in client.submit_many("reverse", first))
    assert results == sorted(b"!%d-" % n for n in range(20))


def test_workloads_that_come_slowly_are_submitted_as_they_come(server: Any, reverser: Worker) -> None:
    go = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"ab"
        with Client(server.address) as other:
            other.submit("reverse", b"").result(timeout=5)  # the worker has done the first one before this
        go.wait(0.2)
        yield b"cd"
        go.wait(0.2)
        yield b"ef"

    with Client(server.address) as client:
        start = time.monotonic()
        times = [time.monotonic() - start for _ in client.submit_many("reverse", slowly())]
    assert times[0] < 0.35 < times[2]


def test_the_status_of_a_job_is_found_while_another_server_is_away(server: Any) -> None:
    with Client(server.address) as client:
        handle = client.submit_background("nobody", unique="u")
    with Client("127.0.0.1:1", server.address) as client:
        assert client.status(handle).known and client.status_unique("u").known
        with pytest.raises(ConnectionLost):
            client.status("H:not:1")


def test_the_child_of_a_fork_does_not_wait_for_its_parent_s_jobs(server: Any) -> None:
    with Client(server.address) as client:
        job = client.submit("nobody")
        pid = os.fork()
        if pid == 0:
            signal.alarm(5)
            try:
                job.result()
            except RuntimeError as error:
                os._exit(0 if "after the fork" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class Interrupted(Exception):
    pass


def interrupt(number: int, frame: object) -> None:
    raise Interrupted


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # where they came in a callback of gc's
def test_exceptions_of_signal_handlers_leave_a_client_of_use(server: Any, run_worker: Any) -> None:
    """As Ctrl-C does, and time limits by SIGALRM. Wherever they come, no job gets the answer of another."""
    worker = Worker(server.address, prefetch=16)
    worker.register("reverse", lambda job: job.workload[::-1])
    run_worker(worker)
    chance = random.Random(5)
    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Client(server.address, timeout=5) as client:
            for number in range(150):
                with suppress(Interrupted):
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0005, 0.01))
                    for job in client.submit_many("reverse", (b"x" for _ in range(5000)), window=200):
                        assert job.result() == b"x"
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert client.submit("reverse", b"%d-" % number).result(timeout=5) == (b"%d-" % number)[::-1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("dying", [1, 2])
def test_every_job_is_yielded_once_when_servers_die(
    tmp_path: Path, server_kind: str, run_worker: Any, dying: int
) -> None:
    with ExitStack() as stack:
        servers = []
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            servers.append(stack.enter_context(run_server(server_kind, folder, may_end=True)))
        worker = Worker(*(one.address for one in servers), prefetch=4)
        worker.register("slow", lambda job: time.sleep(0.002))
        run_worker(worker)
        taken, outcomes = 0, []

        def workloads() -> Iterator[bytes]:
            nonlocal taken
            for _ in range(400):
                taken += 1
                yield b"x"

        with Client(*(one.address for one in servers), timeout=5) as client:
            jobs = client.submit_many("slow", workloads(), window=50)
            with nullcontext() if dying == 1 else pytest.raises(ConnectionLost):
                for job in jobs:
                    outcomes.append(job.exception(0))
                    if len(outcomes) == 50:
                        for one in servers[:dying]:
                            os.kill(one.pid, signal.SIGKILL)
    lost = [error for error in outcomes if error is not None]
    assert len(outcomes) == taken and (taken == 400 if dying == 1 else taken < 400)
    assert 0 < len(lost) <= 200 and all(isinstance(error, ConnectionLost) for error in lost)


TROUBLE = """
import asyncio, os, signal, sys, threading, time
from fastgear import Worker
worker = Worker(sys.argv[1])

@worker.function("exit")
def exit(job):
    sys.exit("no reason")

@worker.function("cancelled")
def cancelled(job):
    raise asyncio.CancelledError

@worker.function("child")
def child(job):
    pid = os.fork()
    if pid == 0:
        time.sleep(30)
    time.sleep(0.1)
    os.kill(pid, signal.SIGTERM)
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

@worker.function("exiting child")
def exiting_child(job):
    pid = os.fork()
    if pid == 0:
        sys.exit(3)
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

if sys.argv[2:] == ["masked"]:  # now the other thread gets them, and the wait of this one is not interrupted
    threading.Thread(target=time.sleep, args=[60], daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
worker.run()
print("left")
"""


@pytest.fixture
def troubled(server: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    (tmp_path / "w.py").write_text(TROUBLE)
    command = [sys.executable, str(tmp_path / "w.py"), server.address, *getattr(request, "param", [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            with AdminClient(server.address) as admin:
                while not any(function.workers for function in admin.status()):
                    time.sleep(0.01)
            yield process
        finally:
            process.kill()


def test_a_job_cannot_end_its_worker(server: Any, troubled: Any) -> None:
    with Client(server.address) as client:
        with pytest.raises(JobException, match="SystemExit: no reason"):
            client.submit("exit").result(timeout=5)
        with pytest.raises(JobException, match="CancelledError"):
            client.submit("cancelled").result(timeout=5)
        assert client.submit("exiting child").result(timeout=5) == b"3"
        assert client.submit("child").result(timeout=5) == b"-15", "it has no use for its parent's signal handler"
    troubled.terminate()
    assert troubled.communicate(timeout=5)[0] == b"left\n"


@pytest.mark.parametrize("troubled", [["masked"]], indirect=True)
def test_a_signal_wakes_a_worker_whichever_thread_gets_it(troubled: Any) -> None:
    troubled.terminate()
    assert troubled.communicate(timeout=5)[0] == b"left\n"


def test_a_worker_runs_once_at_a_time(server: Any, reverser: Worker) -> None:
    with Client(server.address) as client:
        client.submit("reverse").result(timeout=5)
    with pytest.raises(RuntimeError, match="runs already"):
        reverser.run()


@pytest.mark.skipif("os.environ.get('FASTGEAR_ASAN') == '1'", reason="it would take the memory in earnest")
def test_a_result_that_fits_into_no_packet_is_the_job_s_failure(server: Any, run_worker: Any) -> None:
    worker = Worker(server.address)
    worker.register("huge", lambda job: bytes(1 << 32) if job.workload else b"")
    run_worker(worker)
    with Client(server.address) as client:
        with pytest.raises(JobException, match="4 GiB"):
            client.submit("huge", b"x").result(timeout=10)
        assert client.submit("huge").result(timeout=5) == b""
