# SPDX-License-Identifier: MIT
"""The server inside programs whose loop is not theirs alone: gevent's, with all of Python patched, and uvloop's."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand cannot be embedded")

PATCH = "from gevent import monkey; monkey.patch_all()"

# A worker, clients and a clock, each a greenlet of one thread.
IN_GEVENT = """
    import gevent, time
    from fastgear import Client, Server, ServerConfig, Worker

    ticks = 0
    def tick():
        global ticks
        while True:
            gevent.sleep(0.005)
            ticks += 1

    def work(worker):
        worker.run(handle_signals=False)

    def call(address, number):
        with Client(address) as client:
            for step in range(20):
                data = b"%d-%d" % (number, step)
                assert client.submit("reversed", data).result(timeout=20) == data[::-1]

    def slowly(job):
        time.sleep(0.3)
        return job.workload[::-1]

    config = ServerConfig(**OPTIONS)
    server = Server("127.0.0.1:0", config=config)
    clock = gevent.spawn(tick)
    server.start()
    worker = Worker(server.address)
    worker.register("reversed", lambda job: job.workload[::-1])
    worker.register("slowly", slowly)
    working = gevent.spawn(work, worker)
    gevent.joinall([gevent.spawn(call, server.address, number) for number in range(5)], raise_error=True)

    before = ticks
    with Client(server.address) as client:
        slow = client.submit("slowly", b"abc")
        client.submit_background("slowly", b"def")
        gevent.sleep(0.05)
        server.stop(drain=20)
        assert slow.result(timeout=20) == b"cba"
    assert ticks > before + 20, "the clock stood still while the server drained"
    worker.stop()
    working.join(timeout=20)
    assert working.ready() and not server.running
    print("well", ticks > 0)
"""

IN_UVLOOP = """
    import asyncio, uvloop
    from fastgear import Server, aio

    async def main():
        with Server("127.0.0.1:0") as server:
            worker = aio.Worker(server.address)
            worker.register("reversed", reverse)
            working = asyncio.create_task(worker.run(handle_signals=False))
            async with aio.Client(server.address) as client:
                jobs = [await client.submit("reversed", b"%d" % number) for number in range(200)]
                assert [await job.result() for job in jobs] == [(b"%d" % number)[::-1] for number in range(200)]
            worker.stop()
            await working
        print("well", True)

    async def reverse(job):
        await asyncio.sleep(0.001)
        return job.workload[::-1]

    uvloop.run(main())
"""


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=folder
    )
    # Workers log that their server has gone.
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("order", ["patched first", "imported first"])
@pytest.mark.parametrize("store", [False, True])
def test_gevent_goes_on_beside_the_server(order: str, store: bool, tmp_path: Path) -> None:
    pytest.importorskip("gevent", reason="there is no gevent for this Python")
    first = (PATCH, "import fastgear") if order == "patched first" else ("import fastgear", PATCH)
    options = {"store": f"{tmp_path}/jobs.db"} if store else {}
    code = textwrap.dedent(IN_GEVENT).replace("OPTIONS", repr(options))
    assert run("\n".join((*first, code)), tmp_path) == "well True\n"


def test_uvloop_goes_on_beside_the_server(tmp_path: Path) -> None:
    pytest.importorskip("uvloop", reason="there is no uvloop for this Python")
    assert run(textwrap.dedent(IN_UVLOOP), tmp_path) == "well True\n"


def test_a_pool_says_what_it_needs_where_gevent_has_made_threads_greenlets(tmp_path: Path) -> None:
    pytest.importorskip("gevent", reason="there is no gevent for this Python")
    code = """
        import fastgear
        try:
            fastgear.Pool(2)
        except RuntimeError as error:
            print(error)
    """
    assert "a pool needs threads, of which gevent has made greenlets" in run(PATCH + textwrap.dedent(code), tmp_path)
