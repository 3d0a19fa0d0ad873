# SPDX-License-Identifier: MIT
"""The pytest plugin, in runs of pytest of its own: with a server and without, in parallel and with asyncio."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest

import fastgear

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="the plugin starts its own server")


@pytest.fixture(autouse=True)
def only_these_plugins(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package under test may be installed beside, so nothing is loaded by its entry point."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(next(iter(fastgear.__path__))).parent))
    pytester.makeini("[pytest]\naddopts = -p fastgear.testing.plugin -p no:cacheprovider --strict-markers\n")


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    return pytester.runpytest_subprocess("-W", "error", *options)


def test_the_entry_point_is_this_module() -> None:
    project = (Path(__file__).parent.parent.parent / "pyproject.toml").read_text()
    assert '[project.entry-points.pytest11]\nfastgear = "fastgear.testing.plugin"\n' in project


def test_the_example_of_the_readme_works(pytester: pytest.Pytester) -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?def test_.*?)```", readme.partition("## In tests")[2], re.DOTALL)
    run(pytester, example).assert_outcomes(passed=1)


def test_a_job_goes_through_a_server_of_the_test_s_own(pytester: pytest.Pytester) -> None:
    source = """
        import threading
        import fastgear

        def test_reverse(gearman_server):
            worker = fastgear.Worker(gearman_server.address)
            worker.register("reverse", lambda job: job.workload[::-1])
            thread = threading.Thread(target=worker.run)
            thread.start()
            with fastgear.Client(gearman_server.address) as client:
                assert client.submit("reverse", b"abc").result(timeout=5) == b"cba"
                client.submit_background("reverse", b"later")
                gearman_server.wait_until_done()
            assert gearman_server.jobs == ()
            worker.stop()
            thread.join()

        def test_the_next_one_has_another(gearman_server):
            assert gearman_server.functions == ()
            with fastgear.Client(gearman_server.address) as client:
                handles = [client.submit_background("f", b"") for _ in range(3)]
            assert [job.handle for job in gearman_server.jobs] == handles
            assert gearman_server.function("f").queued == 3
            assert gearman_server.function("g").total == 0
    """
    run(pytester, source).assert_outcomes(passed=2)


def test_a_test_that_does_not_ask_for_it_imports_nothing(pytester: pytest.Pytester) -> None:
    source = """
        import sys

        def test_nothing():
            found = {name for name in sys.modules if name.startswith("fastgear")}
            assert found == {"fastgear", "fastgear.testing", "fastgear.testing.plugin"}
    """
    run(pytester, source).assert_outcomes(passed=1)


def test_hours_pass_at_once(pytester: pytest.Pytester) -> None:
    source = """
        import time
        import pytest
        import fastgear
        from fastgear.testing import GearmanServer

        @pytest.fixture(autouse=True)
        def quick():
            start = time.monotonic()
            yield
            assert time.monotonic() - start < 2

        def test_an_epoch_job(gearman_server):
            with fastgear.Client(gearman_server.address) as client:
                client.submit_background("f", b"", at=gearman_server.time + 3600)
                client.submit_background("f", b"", at=gearman_server.time + 7200)
            worker = Raw(gearman_server)
            assert worker.grab() == 10
            gearman_server.advance(3500)
            assert worker.grab() == 10
            gearman_server.advance(200)
            assert worker.grab() == 11
            assert worker.grab() == 10
            gearman_server.advance(86400)
            assert worker.grab() == 11
            worker.sock.close()

        def test_a_timeout_of_a_job(gearman_server):
            with fastgear.Client(gearman_server.address) as client:
                client.submit_background("f", b"")
            worker = Raw(gearman_server, b"\\0REQ\\0\\0\\0\\x17\\0\\0\\0\\x08f\\x00600000")
            assert worker.grab() == 11
            gearman_server.advance(599)
            assert gearman_server.function("f").running == 1
            gearman_server.advance(1.5)
            assert gearman_server.function("f").running == 0
            worker.sock.close()

        @pytest.mark.gearman(job_retries=1, timeout_policy="fail")
        def test_the_client_of_a_job_that_takes_too_long(gearman_server):
            worker = Raw(gearman_server, b"\\0REQ\\0\\0\\0\\x17\\0\\0\\0\\x08f\\x00600000")
            with fastgear.Client(gearman_server.address) as client:
                job = client.submit("f", b"")
                assert worker.grab() == 11
                gearman_server.advance(601)
                with pytest.raises(fastgear.JobFailed):
                    job.result(timeout=5)
            worker.sock.close()

        def test_time_does_not_go_back_nor_on_after_the_end():
            server = GearmanServer()
            with pytest.raises(RuntimeError, match="start it first"):
                server.advance(1)
            with server, pytest.raises(ValueError, match="never back"):
                server.advance(-1)

        import socket

        class Raw:
            def __init__(self, server, can_do=b"\\0REQ\\0\\0\\0\\1\\0\\0\\0\\1f"):
                host, _, port = server.address.rpartition(":")
                self.sock = socket.create_connection((host, int(port)), 5)
                self.sock.sendall(can_do)

            def grab(self):
                self.sock.sendall(b"\\0REQ\\0\\0\\0\\x09\\0\\0\\0\\0")
                return self.sock.recv(1000)[7]
    """
    run(pytester, source).assert_outcomes(passed=4)


LEAVES = """
    import fastgear, pytest

    def leave(server):
        with fastgear.Client(server.address) as client:
            client.submit_background("mail", b"")
            client.submit_background("mail", b"")

    def test_by_the_option(gearman_server):
        leave(gearman_server)

    @pytest.mark.gearman(no_jobs_left=True)
    def test_by_the_marker(gearman_server):
        leave(gearman_server)

    @pytest.mark.gearman(no_jobs_left=False)
    def test_that_may(gearman_server):
        leave(gearman_server)
"""


@pytest.mark.parametrize(("option", "errors"), [("false", 1), ("true", 2)])
def test_jobs_that_are_left_are_an_error_where_that_is_asked(
    pytester: pytest.Pytester, option: str, errors: int
) -> None:
    result = run(pytester, LEAVES, "-o", f"gearman_no_jobs_left={option}")
    result.assert_outcomes(passed=3, errors=errors)
    result.stdout.fnmatch_lines(["jobs are left on the server: 2 of 'mail' (0 running, 0 workers)"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_options_come_from_the_nearest_marker_and_bad_ones_are_named(pytester: pytest.Pytester) -> None:
    source = """
        import pytest
        pytestmark = pytest.mark.gearman(job_retries=7, max_queue=3)

        @pytest.mark.gearman(unix=True, max_queue=5)
        def test_both(gearman_server):
            assert gearman_server.address.startswith("unix:@")
            assert (gearman_server.config.job_retries, gearman_server.config.max_queue) == (7, 5)

        @pytest.mark.gearman(job_retrys=1)
        def test_a_wrong_name(gearman_server):
            pass

        @pytest.mark.gearman(job_retries=-5)
        def test_a_wrong_value(gearman_server):
            pass
    """
    result = run(pytester, source)
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        ["*@pytest.mark.gearman: *job_retrys*", "*@pytest.mark.gearman: job_retries: -5 is out of range*"]
    )


MANY = """
    import pytest
    import fastgear

    @pytest.mark.parametrize("number", range(40))
    def test_one_of_many(gearman_server, number):
        with fastgear.Client(gearman_server.address) as client:
            assert client.echo(b"%d" % number) == b"%d" % number
            client.submit_background("f", b"")
            assert len(gearman_server.jobs) == 1
"""


def test_many_in_parallel(pytester: pytest.Pytester) -> None:
    run(pytester, MANY, "-p", "xdist.plugin", "-n", "2").assert_outcomes(passed=40)


@pytest.mark.alone("milliseconds are measured")
def test_a_server_takes_milliseconds(pytester: pytest.Pytester) -> None:
    start = time.monotonic()
    run(pytester, "import fastgear.client.client, fastgear.testing.server\ndef test_nothing(): pass")
    empty = time.monotonic() - start
    start = time.monotonic()
    run(pytester, MANY).assert_outcomes(passed=40)
    assert (time.monotonic() - start - empty) / 40 < 0.05


def test_with_asyncio(pytester: pytest.Pytester) -> None:
    source = """
        import asyncio
        import pytest

        async def say(server, data):
            host, _, port = server.address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"\\0REQ\\0\\0\\0\\x10\\0\\0\\0" + bytes([len(data)]) + data)
            answer = await reader.readexactly(12 + len(data))
            writer.close()
            await writer.wait_closed()
            return answer[12:]

        @pytest.mark.asyncio
        async def test_it(gearman_server):
            assert await asyncio.gather(*(say(gearman_server, b"%d" % i) for i in range(20))) == [
                b"%d" % i for i in range(20)
            ]
    """
    run(
        pytester, source, "-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function"
    ).assert_outcomes(passed=1)


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_it_works_without_pytest() -> None:
    from fastgear.testing import GearmanServer

    with GearmanServer(unix=True) as server, fastgear.Client(server.address) as client:
        client.submit_background("f", b"")
        with pytest.raises(AssertionError, match="jobs are left on the server: 1 of 'f'"):
            server.wait_until_done(timeout=0.01)
