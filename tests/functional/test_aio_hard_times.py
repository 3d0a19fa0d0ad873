# SPDX-License-Identifier: MIT
"""asyncio's client and worker with peers that are silent, slow, or misbehave."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from played import Played, assign
from servers import RunningServer
from speak import response

from fastgear import ConnectionLost, JobTimeout, Server
from fastgear.addresses import Address
from fastgear.aio import Client, Worker, WorkerJob
from fastgear.aiostream import AioStream, connect

Run = Callable[[Coroutine[Any, Any, Any]], None]
in_thread = asyncio.to_thread
meets_no_server = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="meets no server")


async def say_jobs(played: Played, *jobs: bytes) -> None:
    await in_thread(played.expect, "GRAB_JOB_UNIQ")
    await in_thread(played.socks[-1].sendall, b"".join(jobs))


# -- the client


@meets_no_server
def test_a_server_that_never_answers(played: Played, silent: str, run: Run) -> None:
    async def main() -> None:
        for address in (played.address, silent):  # the kernel connects to the first
            async with Client(address, timeout=0.2) as client:
                start = time.monotonic()
                outcomes = await asyncio.gather(*(client.submit("f") for _ in range(5)), return_exceptions=True)
                assert all(isinstance(one, ConnectionLost) and "not answer in time" in str(one) for one in outcomes)
                assert time.monotonic() - start < 1, "all of them wait for one attempt"
            with Server("127.0.0.1:0") as server:
                async with Client(address, server.address, timeout=0.2) as client:
                    for unique in range(10):
                        await client.submit_background("f", unique=str(unique))
                    assert server.snapshot().functions[0].queued == 10
        async with Client(played.address, timeout=0.1, exceptions=False) as client:
            with pytest.raises(JobTimeout, match="did not acknowledge"):
                await client.submit("f")
            with pytest.raises(JobTimeout, match="did not answer"):
                await client.echo()

    run(main())


@meets_no_server
def test_an_answer_that_comes_late_goes_to_its_own_job(played: Played, run: Run) -> None:
    async def main() -> None:
        async with Client(played.address, timeout=0.3, exceptions=False) as client:
            with pytest.raises(JobTimeout):
                await client.submit("f", b"late")
            cancelled = asyncio.ensure_future(client.submit("f", b"cancelled"))
            await asyncio.sleep(0.05)
            cancelled.cancel()
            third = asyncio.ensure_future(client.submit("f", b"third"))
            await in_thread(played.accept)
            for workload in (b"late", b"cancelled", b"third"):
                assert (await in_thread(played.expect, "SUBMIT_JOB"))[2] == workload
            for number in (1, 2, 3):
                played.say("JOB_CREATED", b"H:%d" % number)
            for number in (1, 2, 3):
                played.say("WORK_COMPLETE", b"H:%d" % number, b"result %d" % number)
            assert await (await third).result(timeout=5) == b"result 3"

    run(main())


@meets_no_server
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (response("ERROR", b"TOO_MANY_CONNECTIONS", b"full"), "TOO_MANY_CONNECTIONS: full"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak Gearman"),
        (response("NOOP"), "NOOP, which is not for a client"),
        (b"", "the server closed the connection"),
    ],
)
def test_what_a_server_says_before_it_closes_is_heard(played: Played, run: Run, words: bytes, message: str) -> None:
    async def main() -> None:
        async with Client(played.address, timeout=5) as client:
            asking = asyncio.ensure_future(client.submit("f"))
            await in_thread(played.accept)
            await in_thread(played.expect, "OPTION_REQ")
            await in_thread(played.socks[-1].sendall, words)
            played.socks[-1].close()
            with pytest.raises(ConnectionLost, match=message):
                await asking

    run(main())


@meets_no_server
def test_what_came_before_a_send_that_fails_is_heard(run: Run, tmp_path: Path) -> None:
    """On a Unix socket a send fails at once when the server has closed."""

    async def main() -> None:
        heard, ended = bytearray(), asyncio.Event()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "server"))
            listener.listen()
            address = Address.parse(f"unix:{tmp_path}/server")
            stream = AioStream(address, heard.extend, lambda error: ended.set())
            await connect(stream, 5)
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"full" * 20_000)
            stream.write(b"x")
            stream.flush()
            await asyncio.wait_for(ended.wait(), 5)
            await stream.closed()
            assert heard == b"full" * 20_000

    run(main())


@meets_no_server
def test_who_waits_for_room_waits_until_a_deadline(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "server"))
            listener.listen()
            address = Address.parse(f"unix:{tmp_path}/server")
            stream = AioStream(address, len, print)
            await connect(stream, 5)
            assert stream.has_room and await stream.room()
            stream.write(bytes(5_000_000))
            loop = asyncio.get_running_loop()
            assert not stream.has_room and not await stream.room(loop.time() + 0.05)
            turns: list[int] = []

            async def write(number: int) -> None:
                if await stream.room():
                    turns.append(number)
                    stream.write(bytes(100_000))

            tasks = [asyncio.ensure_future(write(number)) for number in range(6)]
            await asyncio.sleep(0.05)
            tasks[2].cancel()
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(5)
                left = 5_500_000
                while left:
                    left -= len(await asyncio.to_thread(accepted.recv, 1 << 20))
            await asyncio.wait(tasks)
            assert turns == [0, 1, 3, 4, 5]
            stream.abort()
            await stream.closed()

    run(main())


@meets_no_server
def test_a_client_waits_while_the_server_does_not_read(played: Played, run: Run) -> None:
    size, count = 1_000_000, 40

    async def main() -> None:
        async with Client(played.address, timeout=20, exceptions=False) as client:
            tasks = [
                asyncio.ensure_future(client.submit_background("f", b"%02d" % n * (size // 2))) for n in range(count)
            ]
            await asyncio.sleep(0.3)
            (connection,) = client._connections.values()
            assert connection.stream._transport.get_write_buffer_size() < 2 * size, "no more than what was begun"
            waiting = [task for task in tasks[20:] if not task.done()]
            assert len(waiting) == 20
            for task in waiting[::2]:
                task.cancel()
            await in_thread(played.accept)
            seen = []
            for number in range(count - 10):
                seen.append((await in_thread(played.expect, "SUBMIT_JOB_BG"))[2])
                played.say("JOB_CREATED", b"H:%d" % number)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert [one for one in outcomes if isinstance(one, str)] == [f"H:{n}" for n in range(count - 10)]
            assert seen == [
                b"%02d" % n * (size // 2)
                for n, one in enumerate(outcomes)
                if not isinstance(one, asyncio.CancelledError)
            ], "in order, whole, and without those that were cancelled"

    run(main())


def test_a_slow_reader_of_much_data_is_waited_for(server: RunningServer, run: Run) -> None:
    """Nobody waits while a piece is dealt with, so no more is read then, and the worker waits where the server lets it."""
    pieces, size = 100, 500_000
    worker = Worker(server.address)

    @worker.function("talk")
    async def talk(job: WorkerJob) -> bytes:
        for number in range(pieces):
            await job.send_data(b"%03d" % number + bytes(size - 3))
        return b"end"

    async def main() -> None:
        working = asyncio.ensure_future(worker.run())
        async with Client(server.address) as client:
            job = await client.submit("talk")
            await asyncio.sleep(0.5)
            most = got = 0
            async for piece in job:
                assert piece[:3] == b"%03d" % got and len(piece) == size
                got += 1
                most = max(most, sum(map(len, job.data)))
                await asyncio.sleep(0.002)
            assert got == pieces and await job == b"end"
            assert most < 10 << 20  # uvloop reads up to 4 MiB at once
            worker.stop()
            await working

    run(main())


def test_data_that_nobody_takes_holds_up_nobody(server: RunningServer, run: Run) -> None:
    worker = Worker(server.address, concurrency=2)

    @worker.function("talk")
    async def talk(job: WorkerJob) -> None:
        for _ in range(20):
            await job.send_data(bytes(1 << 20))

    @worker.function("quick")
    async def quick(job: WorkerJob) -> bytes:
        return b"quick"

    async def main() -> None:
        working = asyncio.ensure_future(worker.run())
        async with Client(server.address) as client:
            job = await client.submit("talk")
            await asyncio.sleep(0.3)
            async for _ in job:
                assert await (await client.submit("quick")).result(timeout=10) == b"quick"
                break
            assert await client.echo(b"e") == b"e"
            await job.result(timeout=20)
            assert len(job.data) == 19
            worker.stop()
            await working

    run(main())


# -- the worker


async def start(played: Played, worker: Worker) -> asyncio.Task[None]:
    """A worker that has connected."""
    task = asyncio.ensure_future(worker.run())
    await in_thread(played.accept)
    return task


async def end(worker: Worker, task: asyncio.Task[None], played: Played) -> None:
    """The server goes first, so that the worker need not wait for it."""
    worker.stop()
    played.close()
    await asyncio.wait_for(task, 10)


@meets_no_server
def test_jobs_that_went_down_with_their_server_are_not_run(played: Played, run: Run) -> None:
    ran: list[str] = []
    go = asyncio.Event()
    worker = Worker(played.address, concurrency=2, prefetch=4)

    @worker.function("f")
    async def f(job: WorkerJob) -> None:
        ran.append(job.handle)
        await asyncio.wait_for(go.wait(), 5)
        await job.send_data(b"of no use")

    async def main() -> None:
        task = await start(played, worker)
        await say_jobs(played, assign(1, b"f"))
        await in_thread(played.expect, "GRAB_JOB_UNIQ")
        await in_thread(played.socks[-1].sendall, assign(2, b"f"))
        await in_thread(played.expect, "GRAB_JOB_UNIQ")
        await in_thread(played.socks[-1].sendall, assign(3, b"f"))
        while len(worker._jobs) < 1:
            await asyncio.sleep(0.01)
        played.socks[-1].close()
        await in_thread(played.accept)
        assert await in_thread(played.expect, "CAN_DO") == (b"f",)
        go.set()
        await say_jobs(played, assign(4, b"f"))
        assert (await in_thread(played.expect, "WORK_DATA"))[0] == b"H:4", "and nothing of another connection's job"
        assert ran == ["H:1", "H:2", "H:4"]
        await end(worker, task, played)

    run(main())


@meets_no_server
def test_a_job_of_a_function_that_was_not_offered_ends_the_connection(
    played: Played, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(played.address)
    worker.register("f", lambda job: b"well")

    async def main() -> None:
        task = await start(played, worker)
        await say_jobs(played, assign(1, b"g"))
        await in_thread(played.accept)
        await say_jobs(played, assign(2, b"f"))
        assert await in_thread(played.expect, "WORK_COMPLETE") == (b"H:2", b"well")
        assert "the server sent a job of 'g', which this worker has not offered; connecting again" in caplog.text
        await end(worker, task, played)

    run(main())


@meets_no_server
@pytest.mark.parametrize("kind", ["async", "plain", "thread"])
def test_large_workloads_and_results_at_once_do_not_lock_up(played: Played, run: Run, kind: str) -> None:
    worker = Worker(played.address, concurrency=2)

    async def f(job: WorkerJob) -> bytes:
        return job.workload

    worker.register("f", f if kind == "async" else lambda job: job.workload, thread=kind == "thread")

    async def main() -> None:
        task = await start(played, worker)
        await say_jobs(played, assign(1, b"f"))
        await in_thread(played.expect, "WORK_COMPLETE")
        await in_thread(played.expect, "GRAB_JOB_UNIQ")
        large = b"x" * 20_000_000
        await in_thread(played.socks[-1].sendall, assign(2, b"f", large) + assign(3, b"f", large))
        for number in (2, 3):
            assert await in_thread(played.expect, "WORK_COMPLETE") == (b"H:%d" % number, large)
        await end(worker, task, played)

    run(main())


@meets_no_server
@pytest.mark.parametrize("way", ["stop", "cancel"])
@pytest.mark.parametrize("thread", [False, True])
def test_a_worker_that_cannot_send_can_be_stopped(played: Played, run: Run, way: str, thread: bool) -> None:
    sent: list[int] = []
    worker = Worker(played.address)

    async def talk(job: WorkerJob) -> None:
        for number in range(20):
            await job.send_data(b"x" * 5_000_000)
            sent.append(number)

    def talk_plainly(job: Any) -> None:
        for number in range(20):
            job.send_data(b"x" * 5_000_000)
            sent.append(number)

    worker.register("talk", talk_plainly if thread else talk, thread=thread)

    async def main() -> None:
        task = await start(played, worker)
        await say_jobs(played, assign(1, b"talk"))
        await asyncio.sleep(0.5)
        assert 0 < len(sent) < 10, "the server does not read, so the function waits"
        begin = time.monotonic()
        if way == "stop":
            worker.stop()
        else:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), 10)
        assert task.done() and time.monotonic() - begin < 5
        while thread and (len(sent) < 20 or len(asyncio.all_tasks()) > 2):  # it cannot be cancelled
            await asyncio.sleep(0.01)

    run(main())


@meets_no_server
def test_who_reads_slowly_gets_all_of_the_job_that_was_in_hand_at_the_stop(played: Played, run: Run) -> None:
    pieces, size = 20, 2_000_000
    worker = Worker(played.address)

    @worker.function("talk")
    async def talk(job: WorkerJob) -> bytes:
        for _ in range(pieces):
            await job.send_data(bytes(size))
        return b"end"

    def read_slowly() -> int:
        got = 0
        while data := played.socks[-1].recv(1 << 20):
            got += len(data)
            time.sleep(0.06)
        played.socks[-1].close()
        return got

    async def main() -> None:
        task = await start(played, worker)
        await say_jobs(played, assign(1, b"talk"))
        await asyncio.sleep(0.3)
        worker.stop()
        begin = time.monotonic()
        assert await in_thread(read_slowly) > pieces * size + 12 * pieces
        assert time.monotonic() - begin > 2, "longer than a worker waits for a server that reads nothing"
        await asyncio.wait_for(task, 10)

    run(main())


@meets_no_server
def test_a_server_that_is_silent_holds_up_neither_jobs_nor_the_end(silent: str, played: Played, run: Run) -> None:
    worker = Worker(silent, played.address)
    worker.register("f", lambda job: b"")

    async def main() -> None:
        begin = time.monotonic()
        task = await start(played, worker)
        await say_jobs(played, assign(1, b"f"))
        await in_thread(played.expect, "WORK_COMPLETE")
        await end(worker, task, played)
        assert time.monotonic() - begin < 2

    run(main())


@meets_no_server
def test_a_result_does_not_wait_for_a_plain_function_that_blocks(played: Played, run: Run) -> None:
    worker = Worker(played.address, prefetch=4)
    worker.register("quick", lambda job: b"quick")
    worker.register("slow", lambda job: time.sleep(1))

    async def main() -> None:
        task = await start(played, worker)
        for number in (1, 2):
            await say_jobs(played, assign(number, b"quick"))
            await in_thread(played.expect, "WORK_COMPLETE")
        begin = time.monotonic()

        def talk() -> float:
            played.socks[-1].sendall(assign(3, b"quick") + assign(4, b"slow"))
            assert played.expect("WORK_COMPLETE")[0] == b"H:3"
            return time.monotonic() - begin

        assert await in_thread(talk) < 0.5
        await end(worker, task, played)

    run(main())


@meets_no_server
def test_a_worker_sleeps_and_is_woken_with_jobs_in_hand(played: Played, run: Run) -> None:
    go = asyncio.Event()
    worker = Worker(played.address, concurrency=2)

    @worker.function("f")
    async def f(job: WorkerJob) -> None:
        await asyncio.wait_for(go.wait(), 5)

    async def main() -> None:
        task = await start(played, worker)
        await say_jobs(played, assign(1, b"f"))
        await say_jobs(played, response("NO_JOB"))
        await in_thread(played.expect, "PRE_SLEEP")
        played.say("NOOP")
        await say_jobs(played, assign(2, b"f"))
        go.set()
        handles = {(await in_thread(played.expect, "WORK_COMPLETE"))[0] for _ in range(2)}
        assert handles == {b"H:1", b"H:2"}
        await end(worker, task, played)

    run(main())
