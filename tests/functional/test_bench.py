# SPDX-License-Identifier: MIT
"""``fastgear bench`` on real servers: each kind of load, an honest open loop, and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import GEARMAND, RunningServer, free_port, need, run_server

from fastgear import AdminClient, ConnectionLost, JobTimeout, Server
from fastgear.addresses import Address
from fastgear.bench.bench import Outcome, bench
from fastgear.bench.plan import Plan

COMMAND = [sys.executable, "-m", "fastgear", "bench"]


@pytest.fixture(scope="module", params=["fastgear", "gearmand"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The same for all loads: each has functions of its own."""
    if request.param == "gearmand" and GEARMAND is None:
        need("gearmand", "gearman-job-server")
    with run_server(request.param, tmp_path_factory.mktemp("server")) as running:
        yield running


def load(address: str, **fields: Any) -> Outcome:
    return bench(
        Address.parse(address), Plan(**{"warm_up": 0.02, "patience": 5.0, "clients": 3, "workers": 3, **fields}),
        check_handles=not fields.get("uniques"),
    )  # fmt: skip


def nothing_is_queued(address: str) -> bool:
    with AdminClient(address) as admin:
        return not any(one.total for one in admin.status())


LOADS: dict[str, dict[str, Any]] = {
    "one at a time": {},
    "pipelined": {"pipeline": 20, "grabs": 7},
    "background": {"kind": "background", "pipeline": 5},
    "background, nobody takes": {"kind": "background", "workers": 0, "pipeline": 5, "uniques": None},
    "drain": {"kind": "drain", "grabs": 3, "functions": 4},
    "echo": {"kind": "echo", "pipeline": 10},
    "mixed": {"kind": "mixed", "pipeline": 10, "mix": {"foreground": 3, "background": 2, "echo": 1}},
    "functions and abilities": {"functions": 7, "abilities": 3, "pipeline": 4},
    "sleepers": {"sleepers": 20, "clients": 1, "workers": 1},
    "uniques": {"uniques": None, "pipeline": 4},
    "priorities": {"priorities": {"high": 1, "normal": 2, "low": 1}, "pipeline": 30, "grabs": 4},
    "nothing in it": {"payload": 0, "result": 0, "pipeline": 3},
    "large": {"payload": 300_000, "result": 700_001, "count": 60, "pipeline": 2},
    "more than one result": {"payload": 5000, "result": 3000, "pipeline": 6, "grabs": 4},
    "open loop": {"rate": 2000.0},
}


@pytest.mark.parametrize("name", LOADS)
def test_every_kind_of_load_comes_out_even(place: RunningServer, name: str) -> None:
    fields = {"count": 600, **LOADS[name]}
    outcome = load(place.address, **fields)
    assert outcome.requests == fields["count"]
    assert (outcome.unanswered, outcome.interrupted, outcome.check) == (0, False, "handles")
    assert 0 < outcome.latency_us.p50 <= outcome.latency_us.p99 <= outcome.latency_us.p999 <= outcome.latency_us.most
    assert outcome.target is not None
    assert outcome.target.pid == place.pid
    assert outcome.target.cpu_us_per_request > 0
    assert nothing_is_queued(place.address)


@pytest.mark.parametrize("kind", ["foreground", "background", "mixed"])
def test_jobs_that_coalesce_are_all_answered(place: RunningServer, kind: str) -> None:
    outcome = load(place.address, kind=kind, count=1000, pipeline=10, uniques=5)
    assert outcome.requests == 1000
    assert 0 < outcome.assigned <= 1000
    assert outcome.check == "counts"
    assert nothing_is_queued(place.address)


def test_the_server_of_this_process_is_measured_without_the_load() -> None:
    with Server("127.0.0.1:0") as server:
        outcome = load(server.address, seconds=0.2)
        assert server.snapshot().functions
    assert outcome.target is not None
    assert outcome.target.pid == os.getpid()
    assert 0.1 < outcome.seconds < 0.5
    assert outcome.target.cpu_us_per_request < outcome.seconds / outcome.requests * 1e6


def test_over_a_unix_socket_with_hundreds_of_connections(tmp_path: Path) -> None:
    with Server(f"unix:{tmp_path}/server") as server:
        outcome = load(server.address, clients=300, workers=300, count=3000)
    assert outcome.requests == 3000


def test_a_load_that_leaves_its_jobs() -> None:
    with Server("127.0.0.1:0") as server:
        load(server.address, kind="background", workers=0, count=50, keep=True)
        assert [one.total for one in server.snapshot().functions] == [50]


# -- time


def stalled_load(server: RunningServer, seconds: float, **fields: Any) -> Outcome:
    """The server stands still for that long in the middle."""

    def stall() -> None:
        time.sleep(0.3)
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(server.pid, signal.SIGCONT)

    thread = threading.Thread(target=stall)
    thread.start()
    try:
        return load(server.address, seconds=1.0, **fields)
    finally:
        thread.join()


@pytest.mark.alone("a second or less is measured")
def test_an_open_loop_shows_a_stall_that_a_closed_one_hides(tmp_path: Path) -> None:
    with run_server("fastgear", tmp_path) as server:
        opened = stalled_load(server, 0.3, rate=2000.0)
        closed = stalled_load(server, 0.3)
    assert opened.requests == 2000
    # a third of all should have been sent in these 0.3 s, and the first of those waited for all of it
    assert opened.latency_us.p99 > 200_000
    assert opened.latency_us.p90 > 100_000
    assert opened.latency_us.p50 < 100_000
    assert closed.requests > 1000
    assert closed.latency_us.p99 < 100_000
    assert closed.latency_us.most > 200_000


def test_an_open_loop_that_asks_for_too_much_says_what_had_no_answer(tmp_path: Path) -> None:
    with run_server("fastgear", tmp_path) as server:
        outcome = stalled_load(server, 1.5, rate=1000.0, patience=0.2, warm_up=0.0, pipeline=10)
    assert outcome.unanswered > 0
    assert outcome.latency_us.p99 > 500_000


def test_a_server_that_says_nothing_any_more_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    sentence = r"has said nothing for 0\.3 s, and 3 requests or jobs are under way"
    with run_server("fastgear", tmp_path) as server, pytest.raises(JobTimeout, match=sentence):
        stalled_load(server, 1.5, patience=0.3, warm_up=0.0)


def test_a_server_that_dies_ends_the_load(tmp_path: Path) -> None:
    with run_server("fastgear", tmp_path, may_end=True) as server:
        timer = threading.Timer(0.3, os.kill, (server.pid, signal.SIGKILL))
        timer.start()
        with pytest.raises(ConnectionLost, match=f"a connection to {server.address} broke under the load"):
            load(server.address, seconds=3.0)
        timer.join()


# -- the command


def run(*words: str, folder: Path, code: int = 0) -> tuple[str, str]:
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, cwd=folder, check=False)
    assert done.returncode == code, done
    return done.stdout, done.stderr


def test_the_command_prints_a_report_or_json(tmp_path: Path) -> None:
    with Server("127.0.0.1:0") as server:
        words = ("-s", server.address, "-n", "0.5k", "--warm-up", "0.01")
        out, err = run(*words, folder=tmp_path)
        assert out.startswith("foreground: 500 jobs in 0.")
        assert err == ""
        for word in ("rate ", "latency ", "server ", "its memory ", "this load ", "workers "):
            assert f"\n  {word}" in out
        out, _ = run(*words, "echo", "--json", folder=tmp_path)
        found = json.loads(out)
        assert (found["kind"], found["requests"], found["server"]) == ("echo", 500, server.address)
        assert found["latency_us"]["p999"] >= found["latency_us"]["p50"] > 0
        assert found["target"]["pid"] == os.getpid()
        out, _ = run(*words, "background", "-w", "0", "--uniques", "all", folder=tmp_path)
        assert "bytes for each job in the queue" in out
        mix = ("--mix", "foreground=1,background=2,echo=1", "--priorities", "high=1,normal=1,low=1")
        out, _ = run(*words, "mixed", *mix, "--json", folder=tmp_path)
        assert json.loads(out)["requests"] == 500


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-n", "some"], "--count: 'some' is no number; write 1000, 1k or 16Ki"),
        (["-c", "0"], "clients: at least 1 is needed"),
        (["--mix", "echo"], "--mix: 'echo' is no list of weights"),
        (["--mix", "echo=1,echo=2"], "--mix: 'echo=1,echo=2' is no list of weights"),
        (["-s", "one", "-s", "other"], "this command loads one server; choose one of one, other"),
        (["sideways"], "invalid choice: 'sideways'"),
        (["--pid", "4000000"], "pid: process 4000000 cannot be looked at"),
        (["-s", "a:b:c"], "is no address"),
    ],
)
def test_values_that_make_no_sense(tmp_path: Path, words: list[str], sentence: str) -> None:
    _, err = run(*words, folder=tmp_path, code=2)
    assert sentence in err
    assert err.count("\n") == 1


def test_without_a_server(tmp_path: Path) -> None:
    _, err = run("-s", f"127.0.0.1:{free_port()}", folder=tmp_path, code=3)
    assert err.startswith("fastgear bench: cannot connect to 127.0.0.1:")


def test_ctrl_c_leaves_no_jobs(tmp_path: Path) -> None:
    with Server("127.0.0.1:0") as server:
        process = subprocess.Popen(
            [*COMMAND, "drain", "-s", server.address, "-n", "100M", "-t", "30"], stdout=subprocess.PIPE, cwd=tmp_path
        )
        deadline = time.monotonic() + 20
        while not any(one.total for one in server.snapshot().functions) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=50)
        assert process.returncode == 130
        assert b"(interrupted)" in out
        assert not any(one.total for one in server.snapshot().functions)


def test_ctrl_c_prints_what_there_is(tmp_path: Path) -> None:
    with Server("127.0.0.1:0") as server:
        process = subprocess.Popen(
            [*COMMAND, "-s", server.address, "-t", "30", "--json"], stdout=subprocess.PIPE, cwd=tmp_path
        )
        deadline = time.monotonic() + 20
        while not server.snapshot().functions and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.9)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 130
        found = json.loads(out)
        assert found["interrupted"]
        assert found["requests"] > 0
        assert 0 < found["seconds"] < 20
