# SPDX-License-Identifier: MIT
"""Whole sessions of the client, the worker and the text commands, meddled with at every byte of both directions.

Each run has one connection that is cut, closed half, reset, stalled or split before its byte number k, by `meddling.Meddler`.
What has to be true after each: an answer or a ConnectionLost, in time; no acknowledged background job lost; each foreground
result delivered once, to its own job; the worker back at work; and a server in which nothing is left.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from meddling import BREAKING, TREATMENTS, WAYS, Meddler
from serving import Peer, until, working

from fastgear import AdminClient, Client, ConnectionLost, FastgearError, Server, ServerConfig, ServerError, Worker, aio
from fastgear.servers import Backoff

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="meets an embedded server")

TIMEOUT_S = 10.0  # nothing comes near it but a hang
SPARSE = 1 if os.environ.get("FASTGEAR_EVERY_BYTE") else 3  # to try all takes three times as long
STRIDE = 11  # of the bytes that asyncio's are tried at


@dataclass
class Ledger:
    """What workers have done, by workload."""

    ran: Counter[bytes] = field(default_factory=Counter)

    def reverse(self, job: Any) -> bytes:
        self.ran[job.workload] += 1
        return bytes(job.workload[::-1])


@dataclass
class Said:
    """What a client was told in a session."""

    result: bytes | None = None
    acknowledged: bool = False
    errors: list[FastgearError] = field(default_factory=list)


@contextmanager
def serving() -> Iterator[tuple[Server, Meddler]]:
    config = ServerConfig(handle_prefix="H", verbose="ERROR")
    with Server("127.0.0.1:0", config=config) as server, Meddler(server.address) as meddler:
        yield server, meddler


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture(params=TREATMENTS)
def treatment(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker comes back after a pause, of which there would be hundreds."""
    monkeypatch.setattr("fastgear.worker.standing.Backoff", functools.partial(Backoff, first=0.001, most=0.01))


def nothing_is_left(server: Server, meddler: Meddler, connections: int) -> bool:
    now = server.snapshot()
    return (
        meddler.is_idle()
        and now.counters["connections"] == connections
        and now.counters["output_bytes"] == 0
        and all(function.total == 0 for function in now.functions)
    )


def at_every_byte(
    server: Server, meddler: Meddler, treatment: str, session: Callable[[bytes], None], *, connections: int
) -> int:
    """Run the session once as it is, to count its bytes, and then once for each of them. Returns how often."""
    settled = functools.partial(nothing_is_left, server, meddler, connections)
    session(b"as it is")
    until(settled, "the end of an ordinary session")
    sizes, number = dict(meddler.passed), 0
    for way in WAYS:
        assert sizes[way] > 20
        for at in range(len(treatment) % SPARSE, sizes[way], SPARSE):
            meddler.meddle(treatment, way, at)
            session(b"%s %s %d" % (treatment.encode(), way.encode(), at))
            until(settled, f"the end of all that was {treatment} {way} {at}")
            number += 1
    assert meddler.applied >= 0.9 * number, "the sessions were others than the one that was counted"
    return number


def check(treatment: str, said: Said, tag: bytes, ledger: Ledger) -> None:
    """Of a session of a client's. Its worker is not meddled with, so no job runs twice."""
    assert all(type(error) is ConnectionLost for error in said.errors), said.errors
    assert len(said.errors) <= (tag.split()[0].decode() in BREAKING), said.errors
    assert said.result == (b"foreground " + tag)[::-1] or (said.result is None and said.errors)
    if said.acknowledged:
        until(lambda: ledger.ran[b"background " + tag] == 1, "an acknowledged job")
    assert ledger.ran[b"foreground " + tag] <= 1 and ledger.ran[b"background " + tag] <= 1


# -- the clients


def client_session(client: Client, tag: bytes) -> Said:
    """Each of its three steps works or raises, and the next one goes on with a new connection if need be."""
    said, handle = Said(), "H:unknown"
    try:
        said.result = client.submit("f", b"foreground " + tag).result(timeout=TIMEOUT_S)
    except FastgearError as error:
        said.errors.append(error)
    try:
        handle = client.submit_background("f", b"background " + tag, unique="u")
        said.acknowledged = True
    except FastgearError as error:
        said.errors.append(error)
    try:
        client.status(handle)
    except FastgearError as error:
        said.errors.append(error)
    return said


def test_a_client(treatment: str, ledger: Ledger) -> None:
    with serving() as (server, meddler):
        worker = Worker(server.address, prefetch=4)
        worker.register("f", ledger.reverse)

        def session(tag: bytes) -> None:
            with Client(meddler.address, timeout=TIMEOUT_S) as client:
                said = client_session(client, tag)
            check(treatment, said, tag, ledger)

        with working(worker, TIMEOUT_S):
            until(lambda: server.snapshot().functions, "the worker")
            assert at_every_byte(server, meddler, treatment, session, connections=1) > 200 / SPARSE


async def aio_client_session(client: aio.Client, tag: bytes) -> Said:
    """The same, awaited."""
    said, handle = Said(), "H:unknown"
    try:
        said.result = await (await client.submit("f", b"foreground " + tag)).result(timeout=TIMEOUT_S)
    except FastgearError as error:
        said.errors.append(error)
    try:
        handle = await client.submit_background("f", b"background " + tag, unique="u")
        said.acknowledged = True
    except FastgearError as error:
        said.errors.append(error)
    try:
        await client.status(handle)
    except FastgearError as error:
        said.errors.append(error)
    return said


async def at_some_bytes(
    server: Server,
    meddler: Meddler,
    treatment: str,
    session: Callable[[bytes], Coroutine[Any, Any, None]],
    *,
    connections: int,
) -> int:
    """As `at_every_byte`, for one in STRIDE of them, in one loop."""

    async def settled(what: str) -> None:
        look = functools.partial(nothing_is_left, server, meddler, connections)
        await asyncio.to_thread(until, look, what)

    await session(b"as it is")
    await settled("the end of an ordinary session")
    sizes, number = dict(meddler.passed), 0
    for way in WAYS:
        for at in range(len(treatment) % STRIDE, sizes[way], STRIDE):
            meddler.meddle(treatment, way, at)
            await session(b"%s %s %d" % (treatment.encode(), way.encode(), at))
            await settled(f"the end of all that was {treatment} {way} {at}")
            number += 1
    assert meddler.applied >= 0.9 * number
    return number


def test_asyncio_s_client(treatment: str, ledger: Ledger) -> None:
    with serving() as (server, meddler):
        worker = Worker(server.address, prefetch=4)
        worker.register("f", ledger.reverse)

        async def session(tag: bytes) -> None:
            async with aio.Client(meddler.address, timeout=TIMEOUT_S) as client:
                said = await aio_client_session(client, tag)
            await asyncio.to_thread(check, treatment, said, tag, ledger)

        with working(worker, TIMEOUT_S):
            until(lambda: server.snapshot().functions, "the worker")
            main = at_some_bytes(server, meddler, treatment, session, connections=1)
            assert asyncio.run(main) > 20


# -- the workers


def submit_two(peer: Peer, tag: bytes) -> list[bytes]:
    """A background job, and a foreground one behind it: their handles."""
    peer.send("SUBMIT_JOB_BG", b"f", b"", b"background " + tag)
    peer.send("SUBMIT_JOB", b"f", b"", b"first " + tag)
    return [args[0] for name, args in (peer.receive(), peer.receive()) if name == "JOB_CREATED"]


def submit_one(peer: Peer, tag: bytes) -> bytes:
    """For a worker that has gone to sleep, most likely."""
    peer.send("SUBMIT_JOB", b"f", b"", b"second " + tag)
    name, (handle,) = peer.receive()
    assert name == "JOB_CREATED"
    return handle


def check_result(peer: Peer, handle: bytes, workload: bytes) -> None:
    assert peer.receive() == ("WORK_COMPLETE", (handle, workload[::-1]))


def check_worker(peer: Peer, tag: bytes, ledger: Ledger) -> None:
    """Nothing was told twice, and nothing has run more often than the worker had to come back."""
    peer.send("ECHO_REQ", tag)
    assert peer.receive() == ("ECHO_RES", (tag,))
    most = 2 if tag.split()[0].decode() in BREAKING else 1
    for kind in (b"background ", b"first ", b"second "):
        assert 1 <= ledger.ran[kind + tag] <= most, kind


@pytest.mark.parametrize("prefetch", [1, 4])
def test_a_worker(treatment: str, prefetch: int, ledger: Ledger) -> None:
    with serving() as (server, meddler), Peer(server.address) as peer:

        def session(tag: bytes) -> None:
            _, first = submit_two(peer, tag)
            worker = Worker(meddler.address, prefetch=prefetch)
            worker.register("f", ledger.reverse)
            with working(worker, TIMEOUT_S):
                check_result(peer, first, b"first " + tag)
                until(lambda: ledger.ran[b"background " + tag], "the background job")
                time.sleep(0.001)
                check_result(peer, submit_one(peer, tag), b"second " + tag)
                until(lambda: all(function.total == 0 for function in server.snapshot().functions), "the last report")
            check_worker(peer, tag, ledger)

        assert at_every_byte(server, meddler, treatment, session, connections=1) > 200 / SPARSE


def test_asyncio_s_worker(treatment: str, ledger: Ledger) -> None:
    with serving() as (server, meddler), Peer(server.address) as peer:

        async def session(tag: bytes) -> None:
            _, first = submit_two(peer, tag)
            worker = aio.Worker(meddler.address, concurrency=2)
            worker.register("f", ledger.reverse)
            running = asyncio.create_task(worker.run())
            await asyncio.to_thread(check_result, peer, first, b"first " + tag)
            await asyncio.sleep(0.001)
            second = await asyncio.to_thread(submit_one, peer, tag)
            await asyncio.to_thread(check_result, peer, second, b"second " + tag)
            await asyncio.to_thread(
                until, lambda: all(function.total == 0 for function in server.snapshot().functions), "the last report"
            )
            worker.stop()
            await asyncio.wait_for(running, TIMEOUT_S)
            check_worker(peer, tag, ledger)

        assert asyncio.run(at_some_bytes(server, meddler, treatment, session, connections=1)) > 20


# -- the text commands


def text_session(admin: AdminClient) -> list[FastgearError]:
    """All but the last step, which takes back what the second did, works whatever became of those before it."""
    errors: list[FastgearError] = []
    steps: tuple[Callable[[], object], ...] = (
        admin.version,
        lambda: admin.create_function("whole"),
        admin.status,
        admin.workers,
        lambda: admin.drop_function("whole"),
    )
    for step in steps:
        try:
            step()
        except FastgearError as error:
            errors.append(error)
    return errors


def test_text_commands(treatment: str) -> None:
    """Half a command does nothing: no function has half a name."""
    with serving() as (server, meddler):

        def session(tag: bytes) -> None:
            with AdminClient(meddler.address, timeout=TIMEOUT_S) as admin:
                errors = text_session(admin)
            if errors and isinstance(errors[-1], ServerError):  # it was not made, and so could not be dropped
                assert len(errors) == 2
                errors.pop()
            assert all(type(error) is ConnectionLost for error in errors), errors
            assert len(errors) <= (tag.split()[0].decode() in BREAKING), errors
            names = {function.name for function in server.snapshot().functions}
            assert names <= {"whole"}
            if names:
                assert errors
                assert server.command("drop function whole") == "OK\r\n"

        assert at_every_byte(server, meddler, treatment, session, connections=0) > 100 / SPARSE
