# SPDX-License-Identifier: MIT
"""asyncio's client and worker over real sockets, TCP and Unix, on fastgear's server and on gearmand; all in debug mode."""

from __future__ import annotations

import asyncio
import contextvars
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from servers import RunningServer, free_port, run_server

import fastgear
from fastgear import (
    AdminClient,
    ConfigError,
    ConnectionLost,
    JobException,
    JobFailed,
    JobTimeout,
    LocalProtocolError,
    QueueFull,
    ServerError,
)
from fastgear.aio import Client, Job, Worker, WorkerJob

Run = Callable[[Coroutine[Any, Any, Any]], None]


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, server: RunningServer) -> str:
    if request.param == "unix" and server.unix is None:
        pytest.skip(f"{server.kind} does not listen on Unix sockets")
    return f"unix:{server.unix}" if request.param == "unix" else server.address


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """The worker runs meanwhile."""
    task = asyncio.get_running_loop().create_task(worker.run())
    try:
        yield task
    finally:
        worker.stop()
        await task


async def reverse(job: WorkerJob) -> bytes:
    await asyncio.sleep(0)
    return job.workload[::-1]


def reversing(*addresses: str, **options: Any) -> Worker:
    worker = Worker(*addresses, **options)
    worker.register("reverse", reverse)
    return worker


# -- jobs


@pytest.mark.parametrize("size", [0, 1, 65_510, 1 << 20, 5_000_000])
def test_workloads_and_results_of_any_size_and_byte(address: str, run: Run, size: int) -> None:
    workload = (bytes(range(256)) * (size // 256 + 1))[:size]

    async def main() -> None:
        async with working(reversing(address)), Client(address) as client:
            job = await client.submit("reverse", workload)
            assert job.handle.startswith("H:") and (job.function, job.unique) == ("reverse", "")
            assert await job.result(timeout=20) == workload[::-1]
            assert job.done() and await job.exception() is None and await job == workload[::-1]

    run(main())


@pytest.mark.parametrize("thread", [None, False, True])
def test_status_data_and_warnings_arrive(address: str, run: Run, thread: bool | None) -> None:
    worker = Worker(address)

    async def talk(job: WorkerJob) -> None:
        await job.set_status(1, 2)
        for piece in ("a", b"b", bytearray(b"c")):
            await job.send_data(piece)
        await job.warn("careful")

    def talk_plainly(job: fastgear.WorkerJob) -> None:
        job.set_status(1, 2)
        for piece in ("a", b"b", bytearray(b"c")):
            job.send_data(piece)
        job.warn("careful")

    worker.register("talk", talk if thread is None else talk_plainly, thread=bool(thread))

    async def main() -> None:
        async with working(worker), Client(address) as client:
            job = await client.submit("talk")
            assert await job.result(timeout=5) == b""
            assert (job.data, job.warnings) == ((b"a", b"b", b"c"), (b"careful",))
            assert (job.status.numerator, job.status.denominator, job.status.fraction) == (1, 2, 0.5)
            job = await client.submit("talk")
            assert [piece async for piece in job] == [b"a", b"b", b"c"]
            assert job.data == () and [piece async for piece in job] == []

    run(main())


def test_pieces_of_data_are_there_while_the_job_goes_on(address: str, run: Run) -> None:
    go = asyncio.Event()
    worker = Worker(address)

    @worker.function("talk")
    async def talk(job: WorkerJob) -> bytes:
        await job.send_data(b"first")
        await asyncio.wait_for(go.wait(), 5)
        raise ValueError("in the middle")

    async def main() -> None:
        async with working(worker), Client(address) as client:
            pieces = []
            with pytest.raises(JobException, match="in the middle"):
                async for piece in await client.submit("talk"):
                    pieces.append(piece)
                    go.set()
            assert pieces == [b"first"]

    run(main())


@pytest.mark.parametrize("kind", ["async", "plain", "thread"])
def test_an_exception_arrives_with_its_remote_traceback(address: str, run: Run, kind: str) -> None:
    worker = Worker(address)

    def divide(job: Any) -> bytes:
        raise ZeroDivisionError("too small")

    async def divide_later(job: WorkerJob) -> bytes:
        return divide(job)

    worker.register("divide", divide_later if kind == "async" else divide, thread=kind == "thread")

    async def main() -> None:
        async with working(worker), Client(address) as client:
            with pytest.raises(JobException, match="divide raised: ZeroDivisionError: too small") as caught:
                await (await client.submit("divide"))
            first, *rest = caught.value.remote_traceback.splitlines()
            assert first.startswith("Traceback") and "in divide" in rest[0], "it begins with the function's own frame"
            assert "too small" in str(caught.value.__cause__)
        async with working(worker), Client(address, exceptions=False) as client:
            with pytest.raises(JobFailed):
                await (await client.submit("divide")).result(timeout=5)

    run(main())


def test_a_worker_survives_what_its_functions_do(address: str, run: Run) -> None:
    worker = Worker(address)

    @worker.function("fail")
    async def fail(job: WorkerJob) -> None:
        raise JobFailed("on purpose")

    @worker.function("exit")
    async def leave(job: WorkerJob) -> None:
        sys.exit("no reason")

    @worker.function("cancel")
    async def cancel(job: WorkerJob) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(5)

    class Callable_:
        async def __call__(self, job: WorkerJob) -> str:
            return "täxt"

    worker.register("text", Callable_())
    worker.register("number", lambda job: 42)

    async def main() -> None:
        async with working(worker) as task, Client(address) as client:
            with pytest.raises(JobFailed):
                await (await client.submit("fail"))
            for name, message in [("exit", "SystemExit: no reason"), ("cancel", "CancelledError")]:
                with pytest.raises(JobException, match=message):
                    await (await client.submit(name))
            with pytest.raises(JobException, match="TypeError: the result of number is bytes, text or None, not int"):
                await (await client.submit("number"))
            assert await (await client.submit("text")) == "täxt".encode()
            assert not task.done()

    run(main())


def test_names_that_are_no_ascii(address: str, run: Run) -> None:
    name = "größe-数-\udcff"
    worker = Worker(address, client_id="wörker")
    worker.register(name, reverse)

    async def main() -> None:
        async with working(worker), Client(address, client_id="küche") as client:
            assert worker.functions == (name,)
            assert await (await client.submit(name, b"ab", unique="schlüssel")) == b"ba"
            handle = await client.submit_background("nobody é", unique="ñ")
            assert (await client.status(handle)).known and (await client.status_unique("ñ")).known

    run(main())


def test_questions_and_options(address: str, run: Run) -> None:
    async def main() -> None:
        async with Client(address) as client:
            handle = await client.submit_background("nobody", b"x", unique="key", priority="low")
            status = await client.status(handle)
            assert (status.known, status.running, status.waiting_clients) == (True, False, None)
            assert (await client.status_unique("key")).waiting_clients == 0
            assert not (await client.status("H:nobody:99")).known
            assert await client.echo(b"\0anything\xff") == b"\0anything\xff"
            await client.option("exceptions")
            with pytest.raises(ServerError) as caught:
                await client.option("nonsense")
            assert caught.value.code == "UNKNOWN_OPTION"
            later = await client.submit_background("nobody", at=time.time() + 3600)
            assert (await client.status(later)).known

    run(main())


def test_bad_arguments_get_clear_errors(address: str, run: Run) -> None:
    async def main() -> None:
        async with Client(address) as client:
            with pytest.raises(TypeError, match="encode it first"):
                await client.submit("f", "text")  # type: ignore[arg-type]
            with pytest.raises(LocalProtocolError, match="NUL"):
                await client.submit("re\0verse", b"")
            with pytest.raises(ConfigError, match="high, normal or low"):
                await client.submit_background("f", priority="urgent")
            with pytest.raises(LocalProtocolError, match="1 to 63 bytes"):
                await client.status("H:" + "x" * 70)
            with pytest.raises(ConfigError, match="window"):
                _ = [job async for job in client.submit_many("f", [b""], window=0)]
            assert await client.echo(b"x") == b"x"
        with pytest.raises(RuntimeError, match="closed"):
            await client.echo(b"x")
        with pytest.raises(ConfigError, match="no functions"):
            await Worker(address).run()
        for options in ({"concurrency": 0}, {"prefetch": 0}):
            with pytest.raises(ConfigError, match="out of range"):
                Worker(address, **options)

    run(main())


def test_the_limit_of_a_function(server: RunningServer, address: str, run: Run) -> None:
    async def main() -> None:
        async with Client(address) as client:
            await client.submit_background("few")
            with AdminClient(server.address) as admin:
                admin.max_queue("few", 1)
            with pytest.raises(QueueFull) as caught:
                await client.submit_background("few")
            assert caught.value.function_name == "few"
            assert await client.echo(b"x") == b"x"

    run(main())


# -- many jobs


async def drip(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        if number % 7 == 0:
            await asyncio.sleep(0)
        yield b"%d" % number


@pytest.mark.parametrize("window", [1, 50])
@pytest.mark.parametrize("kind", ["iterable", "asynchronous"])
def test_submit_many_yields_every_job_once(address: str, run: Run, kind: str, window: int) -> None:
    async def main() -> None:
        async with working(reversing(address, concurrency=20)), Client(address) as client:
            workloads: Any = drip(500) if kind == "asynchronous" else (b"%d" % n for n in range(500))
            jobs = [job async for job in client.submit_many("reverse", workloads, window=window)]
            assert all(job.done() for job in jobs)
            assert sorted([await job for job in jobs]) == sorted((b"%d" % n)[::-1] for n in range(500))

    run(main())


@pytest.mark.parametrize("kind", ["iterable", "asynchronous"])
def test_submit_many_consumes_no_more_than_its_window(address: str, run: Run, kind: str) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x"

    async def endless_too() -> AsyncIterator[bytes]:
        for workload in endless():
            yield workload

    async def main() -> None:
        async with working(reversing(address)), Client(address) as client:
            jobs = client.submit_many("reverse", endless_too() if kind == "asynchronous" else endless(), window=20)
            for _ in range(30):
                await (await jobs.__anext__())
            await asyncio.sleep(0.1)
            assert taken <= 30 + 20 + (20 if kind == "asynchronous" else 0), "what is taken ahead is bounded too"
            await jobs.aclose()  # type: ignore[attr-defined]

    run(main())


@pytest.mark.alone("a second or less is measured")
@pytest.mark.parametrize("kind", ["iterable", "asynchronous"])
def test_workloads_that_come_slowly_or_raise(address: str, run: Run, kind: str) -> None:
    def raising() -> Iterator[bytes]:
        yield b"1"
        raise ValueError("mine")

    async def slow() -> AsyncIterator[bytes]:
        for workload in raising():
            yield workload
            await asyncio.sleep(0.3)

    async def main() -> None:
        async with working(reversing(address)), Client(address) as client:
            start, came = time.monotonic(), 0
            with pytest.raises(ValueError, match="mine"):
                async for job in client.submit_many("reverse", slow() if kind == "asynchronous" else raising()):
                    came += 1
                    assert await job == b"1" and time.monotonic() - start < 0.25
            assert came == (1 if kind == "asynchronous" else 0)
            assert await client.echo(b"still") == b"still"

    run(main())


def test_a_thousand_jobs_at_once_over_one_client(address: str, run: Run) -> None:
    async def main() -> None:
        async def one(client: Client, number: int) -> None:
            job = await client.submit("reverse", b"%d-" % number)
            assert await job.result(timeout=30) == (b"%d-" % number)[::-1]

        async with working(reversing(address, concurrency=100)), Client(address) as client:
            await asyncio.gather(*(one(client, number) for number in range(1000)))
            assert len(client._connections) == 1

    run(main())


def test_asynchronous_functions_overlap(address: str, run: Run) -> None:
    """Each waits until all are there, which jobs that come one by one must not prevent."""
    here, all_here = 0, asyncio.Event()
    worker = Worker(address, concurrency=8)

    @worker.function("meet")
    async def meet(job: WorkerJob) -> None:
        nonlocal here
        here += 1
        if here == 8:
            all_here.set()
        await asyncio.wait_for(all_here.wait(), 5)

    async def main() -> None:
        async with working(worker), Client(address) as client:
            jobs: list[Job] = []
            for _ in range(8):
                jobs.append(await client.submit("meet"))
                await asyncio.sleep(0.01)
            await asyncio.gather(*(job.result(timeout=5) for job in jobs))

    run(main())


def test_no_more_run_at_once_than_was_asked_for(address: str, run: Run) -> None:
    now = most = 0
    worker = Worker(address, concurrency=4, prefetch=10)

    @worker.function("count")
    async def count(job: WorkerJob) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1

    async def main() -> None:
        async with working(worker), Client(address) as client:
            assert len([job async for job in client.submit_many("count", [b""] * 100)]) == 100
        assert most == 4

    run(main())


def test_functions_in_threads_leave_the_loop_alone(address: str, run: Run) -> None:
    barrier = threading.Barrier(3)
    worker = Worker(address, concurrency=3)
    worker.register("block", lambda job: str(barrier.wait(5)), thread=True)
    worker.register("quick", lambda job: threading.current_thread() is threading.main_thread() and "in the loop")

    async def main() -> None:
        async with working(worker), Client(address) as client:
            jobs = [await client.submit("block") for _ in range(2)]
            assert await (await client.submit("quick")) == b"in the loop"
            jobs.append(await client.submit("block"))
            assert sorted([await job.result(timeout=5) for job in jobs]) == [b"0", b"1", b"2"]

    run(main())


def test_jobs_do_not_share_their_context(address: str, run: Run) -> None:
    variable: contextvars.ContextVar[bytes] = contextvars.ContextVar("variable", default=b"")
    worker = Worker(address)

    @worker.function("set")
    async def set_it(job: WorkerJob) -> bytes:
        before = variable.get()
        variable.set(job.workload)
        return before

    async def main() -> None:
        async with working(worker), Client(address) as client:
            assert [await (await client.submit("set", b"x")) for _ in range(3)] == [b""] * 3

    run(main())


# -- time-outs and cancellation


def test_a_timeout_does_not_end_the_job(address: str, run: Run) -> None:
    go = asyncio.Event()
    worker = Worker(address)

    @worker.function("wait")
    async def wait(job: WorkerJob) -> bytes:
        await asyncio.wait_for(go.wait(), 5)
        return b"late"

    async def main() -> None:
        async with working(worker), Client(address) as client:
            job = await client.submit("wait")
            with pytest.raises(JobTimeout):
                await job.result(timeout=0.05)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(job.result(), 0.05)
            assert not await job.wait(0) and not job.done()
            go.set()
            assert await asyncio.gather(*(job.result(timeout=5) for _ in range(3))) == [b"late"] * 3

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout and TaskGroup are of Python 3.11")
def test_within_asyncio_timeout_and_task_groups(address: str, run: Run) -> None:
    async def main() -> None:
        async with Client(address) as client:
            job = await client.submit("reverse", b"ab")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await job
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    async for _ in client.submit_many("nobody", [b""] * 5):
                        raise AssertionError
            async with working(reversing(address)):
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(job.result()) for _ in range(3)]
                assert [task.result() for task in tasks] == [b"ba"] * 3
                with pytest.raises(ExceptionGroup) as caught:  # noqa: F821
                    async with asyncio.TaskGroup() as group:
                        group.create_task((await client.submit("nobody")).result(timeout=0.1))
                        waiting = group.create_task((await client.submit("nobody")).result())
                assert waiting.cancelled() and isinstance(caught.value.exceptions[0], JobTimeout)
                assert await (await client.submit("reverse", b"cd")) == b"dc"

    run(main())


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["submit", "submit_background", "submit_many", "status", "close"])
@pytest.mark.parametrize("connected", [True, False])
def test_cancellation_at_every_step_leaves_the_client_of_use(
    address: str, run: Run, kind: str, connected: bool
) -> None:
    """A task is cancelled after n steps of the loop, for every n until it ends by itself. Others get their own answers."""

    async def work(client: Client) -> None:
        if kind == "submit":
            assert await (await client.submit("reverse", b"cancelled")) == b"dellecnac"
        elif kind == "submit_background":
            await client.submit_background("reverse", b"cancelled")
        elif kind == "submit_many":
            assert len([job async for job in client.submit_many("reverse", drip(5))]) == 5
        elif kind == "status":
            assert not (await client.status("H:not:1")).known
        else:
            await client.submit("reverse", b"cancelled")
            await client.close()

    async def attempt(client: Client, count: int) -> bool:
        task = asyncio.ensure_future(work(client))
        other = asyncio.ensure_future(client.submit("reverse", b"%d-" % count)) if kind != "close" else None
        await steps(count)
        is_over = not task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if other is not None:
            assert await (await other).result(timeout=10) == (b"%d-" % count)[::-1]
            assert await client.echo(b"e%d" % count) == b"e%d" % count
        return is_over

    async def main() -> None:
        async with working(reversing(address, concurrency=10)):
            over = count = 0
            client = Client(address)
            while over < 5:
                if kind == "close" or not connected:
                    await client.close()
                    client = Client(address)
                if connected:
                    await client.echo()
                over += await attempt(client, count)
                count += 1
                assert count < 10_000
            assert count > 6, "some of them were cancelled"
            await client.close()

    run(main())


def test_a_cancelled_attempt_to_connect_is_made_by_another_task(address: str, run: Run) -> None:
    async def main() -> None:
        async with Client(address) as client:
            first = asyncio.ensure_future(client.echo(b"1"))
            others = [asyncio.ensure_future(client.echo(b"%d" % n)) for n in range(5)]
            await steps(2)
            first.cancel()
            assert await asyncio.gather(*others) == [b"%d" % n for n in range(5)]
            assert first.cancelled()

    run(main())


@pytest.mark.skipif(
    "config.getoption('--server') == 'gearmand'",
    reason="now and then its timer waits for the next packet to one of its threads; the blocking worker's test has more of them",
)
def test_a_job_over_its_timeout_goes_to_another_worker(
    address: str, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    go = asyncio.Event()
    first, second = Worker(address), Worker(address)

    @first.function("slow", timeout=1)
    async def slow(job: WorkerJob) -> bytes:
        await asyncio.wait_for(go.wait(), 10)
        return b"first"

    @second.function("slow", timeout=1)
    async def quick(job: WorkerJob) -> bytes:
        return b"second"

    async def main() -> None:
        async with Client(address) as client, working(first):
            job = await client.submit("slow")
            await asyncio.sleep(0.3)
            async with working(second):
                assert await job.result(timeout=5) == b"second"
            go.set()
            assert await (await client.submit("slow")).result(timeout=5) == b"first"

    run(main())


# -- the worker's end


def test_stop_finishes_the_jobs_that_have_begun_and_gives_the_others_back(address: str, run: Run) -> None:
    go = asyncio.Event()
    first, second = Worker(address, concurrency=2, prefetch=6), Worker(address)

    @first.function("wait")
    async def wait(job: WorkerJob) -> bytes:
        await job.set_status(1, 2)
        await asyncio.wait_for(go.wait(), 5)
        return b"first"

    async def last(job: WorkerJob) -> bytes:
        return b"second"

    second.register("wait", last)

    async def main() -> None:
        async with Client(address) as client:
            jobs = [await client.submit("wait") for _ in range(10)]
            task = asyncio.ensure_future(first.run())
            while len(first._tasks) + len(first._jobs) < 6:
                await asyncio.sleep(0.01)
            first.stop()
            await asyncio.sleep(0.05)
            assert not task.done()
            with pytest.raises(RuntimeError, match="runs already"):
                await first.run()
            go.set()
            await task
            async with working(second):
                results = [await job.result(timeout=5) for job in jobs]
            assert sorted(results) == [b"first"] * 2 + [b"second"] * 8

    run(main())


@pytest.mark.parametrize("thread", [False, True])
def test_cancelling_a_worker_gives_its_jobs_back(address: str, run: Run, thread: bool) -> None:
    ended: list[str] = []
    let_go = threading.Event()
    first = Worker(address, concurrency=4)

    async def hang(job: WorkerJob) -> None:
        await job.set_status(1, 2)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append(job.handle)

    def block(job: fastgear.WorkerJob) -> None:
        job.set_status(1, 2)
        let_go.wait(10)

    first.register("reverse", block if thread else hang, thread=thread)

    async def main() -> None:
        async with Client(address) as client:
            task = asyncio.ensure_future(first.run())
            jobs = [await client.submit("reverse", b"ab") for _ in range(3)]
            while not all(job.status.denominator for job in jobs):
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert thread or sorted(ended) == sorted(job.handle for job in jobs)
            async with working(reversing(address)):
                assert [await job.result(timeout=5) for job in jobs] == [b"ba"] * 3
            let_go.set()

    run(main())


def test_a_worker_can_be_stopped_from_everywhere_and_run_again(address: str, run: Run) -> None:
    worker = reversing(address)
    worker.register("stop here", lambda job: worker.stop())
    worker.register("stop", lambda job: worker.stop(), thread=True)

    async def main() -> None:
        async with Client(address) as client:
            for name in ("stop here", "stop", "stop here"):
                task = asyncio.ensure_future(worker.run())
                assert await (await client.submit(name)).result(timeout=5) == b""
                await asyncio.wait_for(task, 5)
        worker.stop()
        await asyncio.wait_for(worker.run(), 5)

    run(main())


def test_a_worker_may_be_cancelled_at_every_step(address: str, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Client(address) as client:
            for count in range(60):
                worker = reversing(address, concurrency=3)
                job = await client.submit("reverse", b"ab")
                task = asyncio.ensure_future(worker.run())
                await steps(count)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                async with working(reversing(address)):
                    assert await job.result(timeout=5) == b"ba"

    run(main())
    assert [record.getMessage() for record in caplog.records if record.name.startswith("fastgear")] == []


SIGNALS = """
import asyncio, importlib, sys
from fastgear.aio import Worker
worker = Worker(sys.argv[1], concurrency=2)
@worker.function("slow")
async def slow(job):
    await job.set_status(1, 2)
    await asyncio.sleep(float(job.workload))
    return b"done"
importlib.import_module(sys.argv[2]).run(worker.run(handle_signals=True))
print("left")
"""


@pytest.mark.parametrize(
    ("number", "times", "code"),
    [(signal.SIGTERM, 1, 0), (signal.SIGINT, 1, 0), (signal.SIGTERM, 2, 143), (signal.SIGINT, 2, -signal.SIGINT)],
)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_signals_when_asked_for(
    address: str, loop: str, number: signal.Signals, times: int, code: int, tmp_path: Path
) -> None:
    pytest.importorskip(loop, reason="there is no uvloop for this Python")
    command = [sys.executable, "-c", SIGNALS, address, loop]
    with (
        fastgear.Client(address) as client,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process,
    ):
        try:
            job = client.submit("slow", b"0.5" if times == 1 else b"30")
            while not job.status.denominator:
                job.wait(0.01)
            for _ in range(times):
                process.send_signal(number)
                time.sleep(0.1)
            if times == 1:
                assert job.result(timeout=5) == b"done"
            out, err = process.communicate(timeout=5)
            assert (process.returncode, out) == (code, b"left\n" if times == 1 else b""), err
        finally:
            process.kill()


def test_signals_are_handled_in_the_main_thread_only(address: str) -> None:
    failures: list[BaseException] = []

    def elsewhere() -> None:
        try:
            asyncio.run(reversing(address).run(handle_signals=True))
        except RuntimeError as error:
            failures.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(10)
    assert "main thread" in str(failures[0])


# -- servers that come and go


def test_no_server_there(run: Run) -> None:
    async def main() -> None:
        async with Client("127.0.0.1:1") as client:
            waits = [client.submit("reverse", b"") for _ in range(5)]
            for outcome in await asyncio.gather(*waits, return_exceptions=True):
                assert isinstance(outcome, ConnectionLost) and "127.0.0.1:1: Connection refused" in str(outcome)
            with pytest.raises(ConnectionLost):
                _ = [job async for job in client.submit_many("reverse", [b""])]

    run(main())


def test_failover_and_names_of_hosts(server: RunningServer, run: Run) -> None:
    async def main() -> None:
        async with (
            working(reversing(f"localhost:{server.port}")),
            Client("127.0.0.1:1", f"localhost:{server.port}") as client,
        ):
            for n in range(10):
                assert await (await client.submit("reverse", b"abc", unique=str(n))) == b"cba"
            handle = await client.submit_background("nobody")
            assert (await client.status(handle)).known

    run(main())


def test_jobs_of_one_unique_go_to_one_server(start_server: Any, run: Run) -> None:
    async def main() -> None:
        servers = [start_server(), start_server()]
        addresses = [one.address for one in servers]
        async with Client(*addresses) as one, Client(*reversed(addresses)) as two:
            for n in range(10):
                handles = [(await client.submit("nobody", unique=f"u{n}")).handle for client in (one, two)]
                assert handles[0] == handles[1] and (await one.status_unique(f"u{n}")).waiting_clients == 2
        async with working(reversing(*addresses)), Client(*addresses) as client:
            assert len([job async for job in client.submit_many("reverse", [b"ab"] * 100)]) == 100
            assert len(client._connections) == 2

    run(main())


def test_a_server_that_vanishes_names_the_jobs_in_doubt(tmp_path: Path, server_kind: str, run: Run) -> None:
    async def main(server: RunningServer) -> None:
        async with Client(server.address) as client:
            jobs = [await client.submit("nobody", b"x") for _ in range(3)]
            waits = [asyncio.ensure_future(job.result()) for job in jobs]
            await asyncio.sleep(0.05)
            os.kill(server.pid, signal.SIGKILL)
            for outcome in await asyncio.gather(*waits, return_exceptions=True):
                assert isinstance(outcome, ConnectionLost)
                assert sorted(outcome.handles) == sorted(job.handle for job in jobs)
            with pytest.raises(ConnectionLost):
                await client.echo(b"x")

    with run_server(server_kind, tmp_path, may_end=True) as server:
        run(main(server))


def test_client_and_worker_come_back_to_a_server_that_was_away(tmp_path: Path, server_kind: str, run: Run) -> None:
    port = free_port()

    async def main() -> None:
        client = Client(f"127.0.0.1:{port}")
        async with client, working(reversing(f"127.0.0.1:{port}")):
            await asyncio.sleep(0.1)
            for name in ("first", "second"):
                (tmp_path / name).mkdir()
                with run_server(server_kind, tmp_path / name, port=port):
                    assert await (await client.submit("reverse", b"ab")).result(timeout=10) == b"ba"
                await asyncio.sleep(0.05)

    run(main())


@pytest.mark.parametrize("dying", [1, 2])
def test_every_job_is_yielded_once_when_servers_die(tmp_path: Path, server_kind: str, run: Run, dying: int) -> None:
    outcomes: list[Any] = []
    taken = 0

    def workloads() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(400):
            taken += 1
            yield b"x"

    async def main(servers: list[RunningServer]) -> None:
        addresses = [one.address for one in servers]
        worker = Worker(*addresses, concurrency=4)

        @worker.function("slow")
        async def slow(job: WorkerJob) -> None:
            await asyncio.sleep(0.002)

        async with working(worker), Client(*addresses, timeout=5) as client:
            try:
                async for job in client.submit_many("slow", workloads(), window=50):
                    outcomes.append(await job.exception(0))
                    if len(outcomes) == 50:
                        for one in servers[:dying]:
                            os.kill(one.pid, signal.SIGKILL)
            except ConnectionLost as error:
                assert dying == 2, error
            else:
                assert dying == 1

    with ExitStack() as stack:
        servers = []
        for number in range(2):
            (tmp_path / str(number)).mkdir()
            servers.append(stack.enter_context(run_server(server_kind, tmp_path / str(number), may_end=True)))
        run(main(servers))
    lost = [error for error in outcomes if error is not None]
    assert len(outcomes) == taken and (taken == 400 if dying == 1 else taken < 400)
    assert 0 < len(lost) <= 200 and all(isinstance(error, ConnectionLost) for error in lost)


def test_closing_a_client_ends_the_waiting_for_its_jobs(address: str, run: Run) -> None:
    async def main() -> None:
        async with Client(address) as client:
            job = await client.submit("nobody")
            wait = asyncio.ensure_future(job.result())
            await asyncio.sleep(0)
        with pytest.raises(ConnectionLost, match="the client was closed") as caught:
            await wait
        assert caught.value.handles == (job.handle,)
        await client.close()

    run(main())


def test_a_client_belongs_to_one_loop(address: str) -> None:
    client = Client(address)
    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(client.echo(b"1")) == b"1"
        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(client.echo(b"2"))
    finally:
        loop.run_until_complete(client.close())
        loop.close()


@pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="embeds its own server")
def test_the_example_of_the_readme_works(tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text()
    example = next(code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "fastgear.aio" in code)
    command = [sys.executable, "-X", "dev", "-c", example]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    said = [
        line for line in done.stderr.splitlines() if not re.search(r" took \d+\.\d+ seconds$", line)
    ]  # of a busy machine
    assert (done.returncode, done.stdout, said) == (0, "b'half of it'\nb'olleh'\n", [])
