# SPDX-License-Identifier: MIT
"""The command line as processes: output, exit codes, signals. Commands that ask a server run on both servers."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers import RunningServer, free_port, need

from fastgear import AdminClient, Client
from fastgear.cli.submit import parse_time
from fastgear.version import VERSION

only_fastgear = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="is fastgear's own server")
COMMAND = [sys.executable, "-m", "fastgear"]

FUNCTIONS = '''
import os, time

def reverse(job):
    """Its own name is the function's."""
    return job.workload[::-1]

def raising(job):
    raise ValueError("no such luck")

def failing(job):
    from fastgear import JobFailed
    raise JobFailed("no")

def talking(job):
    job.send_data(b"piece ")
    job.warn("careful")
    return b"end"

def slow(job):
    open("started", "w").close()
    time.sleep(1)
    return b"slept"

functions = {"reverse": reverse, "raising": raising, "failing": failing, "talking": talking, "slow": slow}
nothing = 5
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(FUNCTIONS)
    return tmp_path


def run(*words: str, folder: Path, data: bytes = b"", **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, *words], input=data, capture_output=True, timeout=60, cwd=folder, env={**os.environ, **environment}
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start a command; at the end it is killed if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def start_one(*words: str, **environment: str) -> subprocess.Popen[str]:
        environment = {**os.environ, **environment}
        pipe = subprocess.PIPE
        process = subprocess.Popen([*COMMAND, *words], stdout=pipe, stderr=pipe, text=True, cwd=folder, env=environment)
        started.append(process)
        return process

    yield start_one
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str], number: int, timeout: float = 20) -> tuple[int, str, str]:
    process.send_signal(number)
    output, errors = process.communicate(timeout=timeout)
    return process.returncode, output, errors


def wait_for_functions(server: RunningServer, count: int) -> None:
    deadline = time.monotonic() + 20
    with AdminClient(server.address) as admin:
        while sum(function.workers for function in admin.status()) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def worker(server: RunningServer, folder: Path, start: Start) -> Iterator[subprocess.Popen[str]]:
    process = start("worker", "--server", server.address, "--client-id", "tester", "tasks")
    wait_for_functions(server, 5)
    yield process
    if process.poll() is None:
        assert finish(process, signal.SIGTERM)[0] == 0


# -- submit and worker


def test_submit_prints_the_result_and_nothing_else(server: RunningServer, worker: Any, folder: Path) -> None:
    ask = ("submit", "--server", server.address)
    assert run(*ask, "reverse", "hello", folder=folder) == (0, "olleh", "")
    assert run(*ask, "reverse", folder=folder, data=b"from\0stdin") == (0, "nidts\0morf", "")
    assert run(*ask, "reverse", "-", folder=folder, data=b"dash") == (0, "hsad", "")
    assert run("submit", "reverse", "env", folder=folder, GEARMAN_SERVERS=server.address) == (0, "vne", "")
    assert run(*ask, "talking", "", folder=folder) == (0, "piece end", "warning: careful\n")


def test_submit_says_what_went_wrong_with_its_exit_code(server: RunningServer, worker: Any, folder: Path) -> None:
    ask = ("submit", "--server", server.address)
    code, output, errors = run(*ask, "raising", "x", folder=folder)
    assert (code, output) == (1, "")
    assert "raising raised: ValueError: no such luck" in errors and 'tasks.py", line' in errors
    code, output, errors = run(*ask, "failing", "x", folder=folder)
    assert (code, output) == (1, "") and re.search(r"fastgear submit: job \S+ of failing failed\n", errors)
    code, output, errors = run(*ask, "--timeout", "0.3", "nobody", "x", folder=folder)
    assert (code, output) == (4, "") and "was not done within 0.3 s; it goes on" in errors


def test_background_jobs_are_listed_limited_and_cancelled(server: RunningServer, folder: Path) -> None:
    ask = ("--server", server.address)
    code, output, _ = run("submit", *ask, "-b", "--unique", "u", "--priority", "high", "f", "x", folder=folder)
    handle = output.strip()
    assert code == 0 and handle.startswith("H:")
    assert run("submit", *ask, "-b", "--unique", "u", "f", "x", folder=folder) == (0, output, "")
    assert run("maxqueue", *ask, "f", "1", folder=folder) == (0, "", "")
    code, _, errors = run("submit", *ask, "-b", "f", "y", folder=folder)
    assert (code, errors) == (1, "fastgear submit: the server refused the job: Job queue is full (QUEUE_ERROR)\n")
    rows = json.loads(run("status", *ask, "--json", folder=folder)[1])
    assert rows == [{"name": "f", "total": 1, "running": 0, "workers": 0, "queued": 1}]
    assert (
        run("status", *ask, folder=folder)[1]
        == "FUNCTION  QUEUED  RUNNING  WORKERS\nf              1        0        0\n"
    )
    rows = json.loads(run("status", *ask, "--priorities", "--json", folder=folder)[1])
    assert rows == [{"name": "f", "high": 1, "normal": 0, "low": 0, "workers": 0}]
    rows = json.loads(run("jobs", *ask, "--json", folder=folder)[1])
    assert rows == [{"handle": handle, "retries": 0, "ignored": False, "background": True}]
    assert handle in run("jobs", *ask, folder=folder)[1]
    assert run("cancel", *ask, handle, folder=folder) == (0, "", "")


@pytest.mark.differs("gearmand", "a cancelled job stays in its lists until a worker's next grab")
def test_what_was_cancelled_is_gone(server: RunningServer, folder: Path) -> None:
    ask = ("--server", server.address)
    handle = run("submit", *ask, "-b", "f", "x", folder=folder)[1].strip()
    assert run("cancel", *ask, handle, folder=folder) == (0, "", "")
    assert json.loads(run("jobs", *ask, "--json", folder=folder)[1]) == []
    code, _, errors = run("cancel", *ask, handle, folder=folder)
    assert (code, errors) == (1, f"fastgear cancel: {server.address} refused: UNKNOWN_JOB\n")


def test_workers_shows_who_can_do_what(server: RunningServer, worker: Any, folder: Path) -> None:
    (row,) = json.loads(run("workers", "--server", server.address, "--json", folder=folder)[1])
    assert row["client_id"] == "tester" and row["address"] == "127.0.0.1"
    assert sorted(row["functions"]) == ["failing", "raising", "reverse", "slow", "talking"]
    everybody = json.loads(run("workers", "--server", server.address, "--all", "--json", folder=folder)[1])
    assert len(everybody) == 2, "the command's own connection too"
    assert "tester" in run("workers", "--server", server.address, folder=folder)[1]


def test_a_worker_finishes_its_job_at_a_signal(server: RunningServer, worker: Any, folder: Path) -> None:
    with Client(server.address) as client:
        job = client.submit("slow")
        while not (folder / "started").exists():
            time.sleep(0.01)
        code, _, errors = finish(worker, signal.SIGTERM)
        assert code == 0 and "working on reverse, raising, failing, talking, slow" in errors
        assert job.result(timeout=5) == b"slept"


def test_one_callable_is_a_function_of_its_own_name(server: RunningServer, folder: Path, start: Start) -> None:
    process = start("worker", "tasks:reverse", GEARMAN_SERVERS=server.address)
    wait_for_functions(server, 1)
    assert run("submit", "--server", server.address, "reverse", "abc", folder=folder)[1] == "cba"
    assert finish(process, signal.SIGINT)[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("worker no_such_module", 2, "there is no module 'no_such_module' here or among the installed packages"),
        ("worker tasks:missing", 2, "module 'tasks' has no 'missing'"),
        ("worker tasks:nothing", 2, "tasks:nothing is neither a callable nor a mapping"),
        ("worker tasks -n 600", 2, "workers: 600 is out of range; it is from 0 to 512"),
        ("worker tasks:missing -n 2", 2, "module 'tasks' has no 'missing'"),
        ("worker tasks --max-age soon", 2, "--max-age: 'soon' is not a number"),
        ("serve --workers 2", 2, "--workers: say what they are to run, with --import MODULE"),
        ("worker tasks --prefetch 0", 2, "prefetch"),
        ("submit --at soon f x", 2, "--at: 'soon' is no time; write 2030-01-31T12:00"),
        ("submit --server 127.0.0.1:1 f x", 3, "cannot connect to 127.0.0.1:1: Connection refused"),
        ("submit --server host:x f x", 2, "'x' in 'host:x' is no port"),
        ("status --server 127.0.0.1:1", 3, "cannot connect to 127.0.0.1:1: Connection refused"),
        ("status --server a --server b", 2, "this command asks one server; choose one of a, b"),
        ("maxqueue f 1 2", 2, "maxqueue takes no limit, one, or three"),
        ("serve --backlog 0", 2, "backlog: 0 is out of range; it is from 1 to"),
        ("serve --listen nonsense:port", 2, "'port' in 'nonsense:port' is no port"),
        ("serve --listen unix:/no/such/folder/s", 1, "/no/such/folder/s"),
        ("serve --pid-file /no/such/folder/pid -p 0", 1, "the pid file /no/such/folder/pid cannot be written"),
        ("demo /no/such/folder", 2, "/no/such/folder is no folder"),
        ("demo --workers 0", 2, "--workers: at least 1 is needed"),
        ("nonsense", 2, "invalid choice"),
    ],
)
def test_bad_usage_is_one_sentence_and_an_exit_code(words: str, code: int, message: str, folder: Path) -> None:
    found, output, errors = run(*words.split(), folder=folder)
    assert (found, output) == (code, "")
    assert message in errors and "Traceback" not in errors


def test_help_and_version(folder: Path) -> None:
    code, output, _ = run("--help", folder=folder)
    assert code == 0 and "exit codes: 0 well" in output
    for command in ("serve", "worker", "submit", "status", "workers", "jobs", "cancel", "maxqueue", "demo"):
        assert command in output
        code, text, errors = run(command, "--help", folder=folder)
        assert (code, errors) == (0, "") and text.startswith(f"usage: fastgear {command}")
    assert run(folder=folder)[0] == 2
    assert run("--version", folder=folder) == (0, f"fastgear {VERSION}\n", "")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("+60", datetime.timedelta(seconds=60)),
        ("1900000000.5", 1900000000.5),
        ("2030-01-31T12:00", datetime.datetime(2030, 1, 31, 12, 0)),
    ],
)
def test_times_that_submit_takes(text: str, time: object) -> None:
    assert parse_time(text) == time


def test_who_stops_reading_the_output_hears_no_complaint(server: RunningServer, folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, "status", "--server", server.address],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=60,
            cwd=folder,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


FORKING = """
import os, signal, time

def child(job):
    pid = os.fork()
    if pid == 0:
        time.sleep(5)
        os._exit(0)
    time.sleep(0.1)
    os.kill(pid, signal.SIGTERM)
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_child_of_a_job_has_no_handler_of_the_worker_s(
    server: RunningServer, folder: Path, start: Start, processes: str
) -> None:
    (folder / "forking.py").write_text(FORKING)
    process = start("worker", "--server", server.address, "forking:child", "-n", processes)
    assert run("submit", "--server", server.address, "child", "x", folder=folder) == (0, "-15", "")
    assert finish(process, signal.SIGTERM)[0] == 0


# -- serve


def served_on(process: subprocess.Popen[str]) -> list[str]:
    assert process.stderr is not None
    line = process.stderr.readline()
    if line.startswith("fastgear: without --listen only this machine gets in"):
        line = process.stderr.readline()
    assert line.startswith("fastgear: serving on "), line
    return line.removeprefix("fastgear: serving on ").strip().split(", ")


@only_fastgear
def test_serve_says_where_and_ends_well(folder: Path, start: Start) -> None:
    pid_file = folder / "pid"
    listen = ["--listen", "127.0.0.1:0", "--listen", f"unix:{folder}/s"]
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start("serve", *listen, "--pid-file", str(pid_file))
        addresses = served_on(process)
        assert pid_file.read_text() == f"{process.pid}\n"
        for address in addresses:
            with Client(address) as client:
                assert client.echo(b"x") == b"x"
        code, output, errors = finish(process, number)
        assert (code, output, errors) == (0, "", "fastgear: stopped\n")
        assert not pid_file.exists() and not (folder / "s").exists()


@only_fastgear
def test_serve_takes_its_options_from_the_environment_and_the_command_line_first(folder: Path, start: Start) -> None:
    environment = {"FASTGEAR_MAX_QUEUE": "1", "FASTGEAR_JOB_HANDLE_PREFIX": "H:env", "FASTGEAR_EXCEPTIONS": "yes"}
    process = start("serve", "-p", "0", "--job-handle-prefix", "H:cli", **environment)
    (address,) = served_on(process)
    with Client(address) as client:
        assert client.submit_background("f").startswith("H:cli:")
    assert run("submit", "-b", "--server", address, "f", "x", folder=folder)[0] == 1, "one job is the limit"
    assert finish(process, signal.SIGTERM)[0] == 0
    code, _, errors = run("serve", folder=folder, FASTGEAR_MAX_QUEUE="many")
    assert (code, errors) == (2, "fastgear serve: FASTGEAR_MAX_QUEUE: 'many' is not a whole number\n")
    code, _, errors = run("serve", folder=folder, GEARMAND_PORT="many")
    assert code == 2 and "GEARMAND_PORT: 'many' is no port" in errors


@only_fastgear
def test_serve_drains_at_a_signal(folder: Path, start: Start) -> None:
    process = start("serve", "-p", "0")
    (address,) = served_on(process)
    with Client(address) as client:
        job = client.submit("reverse", b"abc")
        process.send_signal(signal.SIGUSR1)
        assert process.stderr is not None
        assert "finishing the jobs" in process.stderr.readline()
        worker = start("worker", "--server", address, "tasks:reverse")
        assert job.result(timeout=20) == b"cba"
        assert process.wait(20) == 0
    assert finish(worker, signal.SIGTERM)[0] == 0


@only_fastgear
def test_a_second_signal_ends_a_drain(folder: Path, start: Start) -> None:
    process = start("serve", "-p", "0")
    (address,) = served_on(process)
    with Client(address) as client:
        client.submit_background("nobody")
        process.send_signal(signal.SIGUSR1)
        assert process.stderr is not None
        assert "finishing the jobs" in process.stderr.readline()
        time.sleep(0.2)
        code, _, errors = finish(process, signal.SIGTERM)
    assert (code, errors) == (0, "fastgear: stopped\n")


@only_fastgear
def test_both_signals_at_once_end_it_as_well(folder: Path, start: Start) -> None:
    """The second one waits when the first one is taken."""
    process = start("serve", "-p", "0", "--pid-file", "pid")
    (address,) = served_on(process)
    with Client(address) as client:
        client.submit_background("nobody")
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGTERM)
        code, _, errors = finish(process, signal.SIGCONT)
    assert code == 0 and errors.endswith("fastgear: stopped\n")
    assert not (folder / "pid").exists()


@only_fastgear
def test_serve_on_a_port_that_is_taken_says_so(server: RunningServer, folder: Path) -> None:
    code, _, errors = run("serve", "--listen", server.address, folder=folder)
    assert code == 1 and f"cannot listen on {server.address}" in errors


# -- demo


@only_fastgear
def test_the_demo_counts_the_words_of_a_folder(folder: Path) -> None:
    for number in range(30):
        (folder / f"file{number}.py").write_text("alpha beta\n" * 2000)
    (folder / "site-packages").mkdir()
    (folder / "site-packages" / "other.py").write_text("gamma\n")
    code, output, errors = run("demo", "--workers", "2", str(folder), folder=folder)
    assert code == 0, errors
    assert "alpha 60000, beta 60000" in output and "gamma" not in output
    assert "the workers' totals are those of the serial count" in output
    assert re.search(r"\d+ jobs in [\d.]+ s with 2 workers: \d+ jobs/s\nserially [\d.]+ s: speed-up [\d.]+\n", output)


@only_fastgear
def test_demo_serve_prints_lines_that_work(folder: Path, start: Start) -> None:
    process = start("demo", "--serve", "--workers", "1")
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(6)]
    submit, status = lines[2], lines[3]
    for line, expected in ((submit, {"to": 2, "be": 2, "or": 1, "not": 1}), (status, None)):
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30, check=True, cwd=folder)
        assert json.loads(done.stdout) == expected if expected else "wc" in done.stdout
    assert finish(process, signal.SIGINT)[0] == 0


# -- worker processes


COUNTED = """
import os, time
def counted(job):
    with open("ran", "a") as file:
        file.write(job.workload.decode() + "\\n")
    time.sleep(0.004)
    return job.workload
def version(job):
    return "old %d" % os.getpid()
def endless(job):
    open("begun", "a").write("x")
    time.sleep(1 if os.path.getsize("begun") > 1 else 60)
    return b"done"
functions = {"counted": counted, "version": version, "endless": endless}
"""


@pytest.fixture
def counted(folder: Path) -> Path:
    (folder / "counted.py").write_text(COUNTED)
    return folder


@only_fastgear
def test_sigterm_under_load_loses_no_job_and_runs_none_twice(
    server: RunningServer, counted: Path, start: Start
) -> None:
    ask = ("--server", server.address, "--prefetch", "4", "-n", "2", "counted")
    workloads = [b"%d" % number for number in range(600)]
    with Client(server.address) as client:
        jobs = [client.submit("counted", workload) for workload in workloads]
        while jobs:
            process = start("worker", *ask)
            wait_for_functions(server, 6)
            for job in jobs[:100]:
                assert job.result(timeout=20) in workloads
            code, _, errors = finish(process, signal.SIGTERM)
            assert (code, errors.count("\n")) == (0, 1), errors
            jobs = [job for job in jobs if not job.wait(0)]
    ran = (counted / "ran").read_text().split()
    assert sorted(map(int, ran)) == list(range(600))


@only_fastgear
def test_a_process_manager_s_sigterm_to_everybody_cuts_off_no_job(
    server: RunningServer, counted: Path, start: Start
) -> None:
    process = start("worker", "--server", server.address, "-n", "2", "counted")
    (counted / "begun").write_text("x")
    with Client(server.address) as client:
        job = client.submit("endless")
        while (counted / "begun").read_text() != "xx":
            time.sleep(0.01)
        for one in (*psutil.Process(process.pid).children(), process):
            one.send_signal(signal.SIGTERM)
        assert job.result(timeout=20) == b"done"
        assert process.wait(20) == 0
    assert (counted / "begun").read_text() == "xx"


@only_fastgear
def test_a_second_signal_ends_the_processes_at_once_and_the_job_goes_to_others(
    server: RunningServer, counted: Path, start: Start
) -> None:
    process = start("worker", "--server", server.address, "-n", "2", "counted")
    with Client(server.address) as client:
        job = client.submit("endless")
        while not (counted / "begun").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None, "the job is in hand"
        code, _, _ = finish(process, signal.SIGTERM)
        assert code == 128 + signal.SIGTERM
        process = start("worker", "--server", server.address, "-n", "1", "counted")
        assert job.result(timeout=20) == b"done"
        assert finish(process, signal.SIGTERM)[0] == 0


@only_fastgear
def test_a_worker_process_is_replaced_after_its_jobs(server: RunningServer, counted: Path, start: Start) -> None:
    process = start("worker", "--server", server.address, "--max-jobs", "5", "--jitter", "0", "-v", "counted")
    with Client(server.address) as client:
        deadline, pids = time.monotonic() + 20, set()
        while len(pids) < 3 and time.monotonic() < deadline:
            pids.add(client.submit("version").result(timeout=20))
    code, _, errors = finish(process, signal.SIGINT)
    assert code == 0 and len(pids) >= 3
    assert "is ready" in errors and "is gone: recycled: jobs, exit code 0" in errors


@only_fastgear
def test_serve_runs_workers_reloads_them_and_lets_them_finish(counted: Path, start: Start) -> None:
    process = start("serve", "-p", "0", "--import", "counted", "--workers", "2", TMPDIR=str(counted))
    (address,) = served_on(process)
    with Client(address) as client, AdminClient(address) as admin:
        old = client.submit("version").result(timeout=20)
        assert old.startswith(b"old")
        (private,) = counted.glob("fastgear-*")
        assert private.stat().st_mode & 0o777 == 0o700
        (counted / "counted.py").write_text(COUNTED.replace('"old %d"', '"new one %d"'))
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while not client.submit("version").result(timeout=20).startswith(b"new one"):
            assert time.monotonic() < deadline
        for number, count in ((signal.SIGTTIN, 3), (signal.SIGTTOU, 2)):
            process.send_signal(number)
            while admin.status()[0].workers != count:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        (counted / "begun").write_text("x")
        job = client.submit("endless")
        while (counted / "begun").read_text() != "xx":
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert job.result(timeout=20) == b"done"
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (
            0,
            "fastgear: the workers finish the jobs in hand\nfastgear: stopped\n",
        )
    assert not list(counted.glob("fastgear-*"))


@only_fastgear
def test_serve_ends_with_workers_that_cannot_start(counted: Path, start: Start) -> None:
    (counted / "broken.py").write_text("raise ValueError('no such luck')\n")
    process = start("serve", "-p", "0", TMPDIR=str(counted), FASTGEAR_IMPORT="broken", FASTGEAR_WORKERS="1")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "broken.py" in errors and "ValueError: no such luck" in errors
    assert "the worker processes have ended, and so does the server" in errors
    assert not list(counted.glob("fastgear-*"))


# -- unmodified tools


def test_debian_s_tools_work_unmodified(server: RunningServer, folder: Path) -> None:
    for tool in ("gearman", "gearadmin"):
        if not any(os.access(f"{path}/{tool}", os.X_OK) for path in os.environ["PATH"].split(":")):
            need(tool, "gearman-tools")
    where = ["-h", server.host, "-p", str(server.port)]
    with open(folder / "worker.log", "w") as log:
        worker = subprocess.Popen(["gearman", *where, "-f", "wc", "-w", "--", "wc", "-c"], stdout=log, stderr=log)
    try:
        wait_for_functions(server, 1)

        def gearadmin(*words: str) -> str:
            command = ["gearadmin", "--host", server.host, "--port", str(server.port), *words]
            return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

        done = subprocess.run(
            ["gearman", *where, "-f", "wc"], input=b"hello\n", capture_output=True, timeout=30, check=True
        )
        assert done.stdout.strip() == b"6"
        assert gearadmin("--status") == "wc\t0\t0\t1\n.\n"
        assert re.search(r"^\d+ 127\.0\.0\.1 \S+ : wc$", gearadmin("--workers"), re.MULTILINE)
        done = subprocess.run(
            ["gearman", *where, "-b", "-f", "other"], input=b"x", capture_output=True, timeout=30, check=True
        )
        assert re.match(r"H:\S+:\d+\t0\t0\t1\n\.\n", gearadmin("--show-jobs"))
        assert gearadmin("--server-version").strip()
    finally:
        worker.terminate()
        worker.wait(10)


@only_fastgear
def test_serve_starts_on_a_port_of_choice(start: Start) -> None:
    port = free_port()
    process = start("serve", "--port", str(port))
    assert served_on(process) == [f"127.0.0.1:{port}"]
    assert finish(process, signal.SIGTERM)[0] == 0
