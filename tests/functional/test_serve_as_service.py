# SPDX-License-Identifier: MIT
"""``fastgear serve`` as a service: detached, under systemd or something that stands in for it, and what signals do."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from servers import need
from serving import SERVE, Peer, connected, run_serve, serving, shared, until

from fastgear import Client

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="is about fastgear's own server")

HERE = ("--listen=127.0.0.1", "--port=0")
_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


# -- daemon


@pytest.fixture
def daemons() -> Iterator[Callable[[int], int]]:
    """Daemons become this process's children, so that it sees how they end: daemons(pid) is the exit code of one."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def wait(pid: int) -> int:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        pytest.fail("the daemon did not end")

    yield wait
    prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def children() -> set[int]:
    """Those that are gone and not reaped, too."""
    return {child.pid for child in psutil.Process().children()}


def stat_of(pid: int) -> list[str]:
    """From the state on: state, parent, group, session, terminal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def test_a_daemon_detaches_serves_and_can_be_stopped(folder: Path, daemons: Callable[[int], int]) -> None:
    code, output, errors = run_serve(folder, "-d", "-L", f"unix:{folder}/s", "-P", "pid", "-l", "log")
    assert (code, output, errors) == (0, "", ""), "and nobody holds these pipes any more"
    pid = int((folder / "pid").read_text())
    state, parent, group, session, terminal = stat_of(pid)[:5]
    assert (int(parent), terminal) == (os.getpid(), "0") and state in "RS"
    assert session == group and int(session) not in (pid, os.getsid(0)), "no leader, so it can never get a terminal"
    assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == [os.devnull] * 3
    assert os.readlink(f"/proc/{pid}/cwd") == str(folder), "as gearmand, so that relative names keep their meaning"
    with Peer(f"unix:{folder}/s") as peer:
        assert peer.command("getpid") == f"OK {pid}"
    os.kill(pid, signal.SIGTERM)
    assert daemons(pid) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["log"]
    assert [line.rpartition("] ")[2] for line in (folder / "log").read_text().splitlines()] == [
        f"serving on unix:{folder}/s",
        "stopped",
    ]


def test_a_daemon_that_cannot_serve_tells_who_started_it(folder: Path, daemons: Callable[[int], int]) -> None:
    before = children()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, output, errors = run_serve(folder, "--daemon", "-L", "127.0.0.1", "-p", port, "-P", "pid")
    assert (code, output) == (1, "")
    (daemon,) = children() - before
    assert daemons(daemon) == 1
    assert errors.endswith(
        f"fastgear serve: cannot listen on 127.0.0.1:{port}: Address already in use; is another server running there?\n"
    )
    assert not list(folder.iterdir())


def test_a_daemon_without_a_log_says_that_it_has_none(folder: Path, daemons: Callable[[int], int]) -> None:
    code, _, errors = run_serve(folder, "-d", *HERE, "-P", "pid")
    assert code == 0 and errors.startswith("fastgear: a daemon has no standard error; give --log-file or --syslog")
    pid = int((folder / "pid").read_text())
    os.kill(pid, signal.SIGINT)
    assert daemons(pid) == 0


TASKS = """
import os
def environment(job):
    return " ".join(name for name in os.environ).encode()
functions = {"environment": environment}
"""


def test_a_daemon_s_workers_hold_nothing_of_who_started_it(folder: Path, daemons: Callable[[int], int]) -> None:
    (folder / "tasks.py").write_text(TASKS)
    words = ("-d", "-L", f"unix:{folder}/s", "-P", "pid", "-l", "log", "--import", "tasks", "--workers=1")
    code, output, errors = run_serve(folder, *words, environment={"TMPDIR": str(folder)})
    assert (code, output, errors) == (0, "", "")
    with Client(f"unix:{folder}/s") as client:
        assert b"PATH" in client.submit("environment").result(timeout=20)
    pid = int((folder / "pid").read_text())
    os.kill(pid, signal.SIGTERM)
    assert daemons(pid) == 0
    assert "the workers finish the jobs in hand" in (folder / "log").read_text()


# -- signals


def test_sigusr1_finishes_the_jobs_and_sighup_is_no_end(folder: Path) -> None:
    with serving(folder, *HERE, "-l", "log") as server:
        log = folder / "log"
        address = until(lambda: log.exists() and re.search(r"serving on (\S+)", log.read_text()))[1]
        with Peer(address) as client:
            client.send("SUBMIT_JOB", b"f", b"", b"x")
            assert client.receive()[0] == "JOB_CREATED"
            server.process.send_signal(signal.SIGUSR1)
            until(lambda: "finishing the jobs" in log.read_text())
            log.rename(folder / "log.1")
            server.process.send_signal(signal.SIGHUP)
            until(lambda: log.exists() and "opened anew" in log.read_text())
            client.send("SUBMIT_JOB", b"f", b"", b"y")
            assert client.receive()[0] == "ERROR"
            with Peer(address) as worker:
                worker.send("CAN_DO", b"f")
                worker.send("GRAB_JOB")
                handle = worker.receive()[1][0]
                assert server.process.poll() is None
                worker.send("WORK_COMPLETE", handle, b"done")
                assert client.receive() == ("WORK_COMPLETE", (handle, b"done"))
                assert server.process.wait(_PATIENCE_S) == 0
        assert "stopped" in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_and_sigint_end_it_at_once_jobs_or_not(number: signal.Signals, folder: Path) -> None:
    with serving(folder, *HERE) as server, server.peer() as client:
        client.send("SUBMIT_JOB", b"f", b"", b"x")
        assert client.receive()[0] == "JOB_CREATED"
        begin = time.monotonic()
        assert server.stop(number)[0] == 0
        assert time.monotonic() - begin < 5 and client.socket.recv(1) == b""


def test_sigterm_at_any_moment_of_the_start_leaves_nothing_half_done(folder: Path) -> None:
    words = ("-L", f"unix:{folder}/s", "-P", "pid")
    begin = time.monotonic()
    with serving(folder, *words) as server:
        assert server.address
        start_s = time.monotonic() - begin
        assert server.stop()[0] == 0
    for number in range(16):
        with serving(folder, *words) as server:
            time.sleep(start_s * number / 15)
            assert server.stop()[0] in (0, -signal.SIGTERM)
        assert {path.name for path in folder.iterdir() if not path.name.startswith("stderr")} == set()


def test_workers_that_die_are_told_of_in_the_log(folder: Path) -> None:
    (folder / "tasks.py").write_text("import os\ndef die(job):\n    os._exit(9)\n")
    words = (*HERE, "--import", "tasks:die", "--workers=1", "-j", "1", "-l", "log", "--verbose=INFO")
    with serving(folder, *words, environment={"TMPDIR": str(folder)}) as server:
        log = folder / "log"
        address = until(lambda: log.exists() and re.search(r"serving on (\S+)", log.read_text()))[1]
        with Client(address) as client:
            client.submit_background("die")
            until(lambda: re.search(r"WARNING .* worker \d+ is gone: crashed, exit code 9 in die", log.read_text()))
        server.stop()


# -- systemd


class Manager:
    """Stands in for systemd: a socket that is notified."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.settimeout(_PATIENCE_S)

    def next(self) -> dict[str, str]:
        """The next message that is no sign of life."""
        while (message := self.receive()) == {"WATCHDOG": "1"}:
            pass
        return message

    def receive(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, folder: Path) -> Iterator[Manager]:
    made = Manager(f"{folder}/notify" if request.param == "path" else f"@fastgear-test-{os.getpid()}")
    yield made
    made.socket.close()


def test_systemd_hears_ready_reloading_and_stopping(folder: Path, manager: Manager) -> None:
    with serving(folder, *HERE, "-l", "log", environment={"NOTIFY_SOCKET": manager.name}) as server:
        message = manager.next()
        address = message["STATUS"].removeprefix("serving on ")
        assert message == {"READY": "1", "STATUS": f"serving on {address}", "MAINPID": str(server.pid)}
        with Peer(address) as peer:  # ready is ready
            assert peer.command("version").startswith("OK")
        server.process.send_signal(signal.SIGHUP)
        reloading = manager.next()
        assert reloading["RELOADING"] == "1"
        assert abs(int(reloading["MONOTONIC_USEC"]) / 1e6 - time.monotonic()) < 60
        assert manager.next() == message
        assert server.stop()[0] == 0
        assert manager.next()["STOPPING"] == "1"


def test_systemd_s_watchdog_hears_that_the_server_is_alive_also_while_it_drains(folder: Path, manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "600000"}
    with serving(folder, *HERE, environment=environment) as server:
        assert manager.next()["READY"] == "1"
        with server.peer() as client:
            client.send("SUBMIT_JOB_BG", b"f", b"", b"x")
            assert client.receive()[0] == "JOB_CREATED"
            begin = time.monotonic()
            assert [manager.receive() for _ in range(4)] == [{"WATCHDOG": "1"}] * 4
            assert 0.5 < time.monotonic() - begin < 4 * 0.6
            server.process.send_signal(signal.SIGUSR1)
            assert manager.next()["STATUS"].startswith("finishing the jobs")
            assert [manager.receive() for _ in range(4)] == [{"WATCHDOG": "1"}] * 4
            assert server.stop()[0] == 0
            assert manager.next()["STOPPING"] == "1"


def test_a_watchdog_that_is_not_meant_hears_nothing(folder: Path, manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "30000", "WATCHDOG_PID": "1"}
    with serving(folder, *HERE, environment=environment):
        assert manager.next()["READY"] == "1"
        manager.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            manager.receive()


def test_workers_do_not_take_themselves_for_the_service(folder: Path, manager: Manager) -> None:
    (folder / "tasks.py").write_text(TASKS)
    environment = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "3000000", "TMPDIR": str(folder)}
    with serving(folder, *HERE, "--import", "tasks", "--workers=1", environment=environment) as server:
        with Client(server.address) as client:
            names = client.submit("environment").result(timeout=20).decode().split()
        assert "PATH" in names and not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(names)
        assert server.stop()[0] == 0


def activated(*sockets: socket.socket) -> list[str]:
    """A command that hands these over as systemd does: from descriptor 3 on, to this very process id."""
    code = (
        "import os, sys; fds = [int(fd) for fd in sys.argv[1].split(',')]; spare = [os.dup(fd) for fd in fds]; "
        "[os.close(fd) for fd in fds]; "
        "[os.set_inheritable(os.dup2(fd, 3 + number), True) for number, fd in enumerate(spare)]; "
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES='a:b'); "
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    return [SERVE[0], "-c", code, ",".join(str(sock.fileno()) for sock in sockets), *SERVE]


def test_sockets_that_systemd_opened_take_the_default_s_place(folder: Path) -> None:
    """And outlive the server: a client that connects while there is none waits for the next one."""
    with shared(socket.create_server(("127.0.0.1", 0))) as tcp, shared(socket.socket(socket.AF_UNIX)) as unix:
        unix.bind(f"{folder}/s")
        unix.listen()
        more = {"command": activated(tcp, unix), "pass_fds": [tcp.fileno(), unix.fileno()]}
        with serving(folder, "-j", "3", **more) as server:
            assert server.addresses == [f"127.0.0.1:{tcp.getsockname()[1]}", f"unix:{folder}/s"]
            assert "loopback" not in server.log and "only this machine" not in server.log
            for address in server.addresses:
                with Peer(address) as peer:
                    assert peer.command("version").startswith("OK")
            links = [os.readlink(path) for path in Path(f"/proc/{server.pid}/fd").iterdir()]
            assert len([link for link in links if link == os.readlink(f"/proc/self/fd/{tcp.fileno()}")]) == 1
            assert server.stop()[0] == 0
        assert (folder / "s").exists(), "it is systemd's to remove"
        with Peer(f"unix:{folder}/s") as early, serving(folder, **more) as server:
            assert server.address and early.command("version").startswith("OK")
            server.stop()
        with serving(folder, *HERE, **more) as server:
            assert len(server.addresses) == 3, "with --listen, on that as well"


def test_sockets_that_systemd_opened_reach_a_daemon(folder: Path, daemons: Callable[[int], int]) -> None:
    with shared(socket.create_server(("127.0.0.1", 0))) as tcp:
        code, _, errors = run_serve(
            folder, "-d", "-P", "pid", "-l", "log", command=activated(tcp), pass_fds=[tcp.fileno()]
        )
        assert code == 0, errors
        pid = int((folder / "pid").read_text())
        with Peer(f"127.0.0.1:{tcp.getsockname()[1]}") as peer:
            assert peer.command("getpid") == f"OK {pid}"
        os.kill(pid, signal.SIGTERM)
        assert daemons(pid) == 0


def test_a_descriptor_that_is_no_socket_is_told(folder: Path) -> None:
    with open(os.devnull) as null:
        more = {"command": activated(null), "pass_fds": [null.fileno()]}  # type: ignore[arg-type]
        code, _, errors = run_serve(folder, **more)
    assert (code, errors.count("\n")) == (1, 1) and "descriptor 3, which LISTEN_FDS counts, is no socket" in errors


# -- Debian's own unit for gearmand

UNIT, PARAMETERS = Path("/lib/systemd/system/gearman-job-server.service"), Path("/etc/default/gearman-job-server")


def test_debian_s_unit_and_parameters_need_another_program_only(folder: Path, daemons: Callable[[int], int]) -> None:
    if not UNIT.exists() or not PARAMETERS.exists():
        need("gearmand's unit", "gearman-job-server")
    unit = UNIT.read_text()
    shell = f'. {PARAMETERS}; printf "%s\\n" $PARAMS'
    params = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True, timeout=20).stdout.split()
    (command,) = re.findall(r"^ExecStart=/usr/sbin/gearmand (.*) \$PARAMS$", unit, re.MULTILINE)
    assert "Type=forking" in unit and "--daemon" in params and any(word.startswith("--log-file=") for word in params)
    words = [re.sub(r"=/(run|var)/.*/", f"={folder}/", word) for word in (*command.split(), *params)]
    code, output, errors = run_serve(folder, *words, environment={"GEARMAND_PORT": "0"})
    assert (code, output, errors) == (0, "", "")
    pid, log = int((folder / "gearmand.pid").read_text()), folder / "gearmand.log"
    for address in re.search(r"serving on (.*)", log.read_text())[1].split(", "):  # type: ignore[index]
        with Peer(address) as peer:
            assert peer.command("getpid") == f"OK {pid}"
    log.rename(folder / "gearmand.log.1")
    subprocess.run(
        ["sh", "-c", "kill -HUP `cat gearmand.pid`"], cwd=folder, check=True, timeout=20
    )  # as its logrotate does
    until(log.exists)
    os.kill(pid, signal.SIGTERM)
    assert daemons(pid) == 0 and not (folder / "gearmand.pid").exists()


# -- systemd's own tools, where they are


def units() -> list[Path]:
    return sorted((Path(__file__).parent.parent.parent / "docs" / "systemd").iterdir())


def test_the_example_s_command_line_is_accepted(folder: Path) -> None:
    (unit,) = [path for path in units() if path.suffix == ".service"]
    (command,) = re.findall(r"^ExecStart=\S+ serve (.*)$", unit.read_text(), re.MULTILINE)
    assert run_serve(folder, "--check-args", *command.split()) == (0, "", "")


def test_systemd_finds_no_fault_with_the_example(folder: Path) -> None:
    program = shutil.which("systemd-analyze") or pytest.skip("there is no systemd-analyze")
    for path in units():
        text = re.sub(r"/usr/bin/fastgear", "/bin/true", path.read_text())
        (folder / path.name).write_text(re.sub(r"^User=.*$", "", text, flags=re.MULTILINE))
    names = [path.name for path in units()]
    done = subprocess.run(
        [program, "verify", "--man=no", *names], capture_output=True, text=True, cwd=folder, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_s_own_tool_activates_it(folder: Path) -> None:
    program = shutil.which("systemd-socket-activate") or pytest.skip("there is no systemd-socket-activate")
    names = {"PATH", "PYTHONPATH", "PYTHONMALLOC", "LD_PRELOAD", "ASAN_OPTIONS"} & set(os.environ)
    environment = [f"--setenv={name}={os.environ[name]}" for name in names]
    command = [program, *environment, f"--listen={folder}/s", *SERVE]
    with serving(folder, command=command), until(lambda: connected(f"unix:{folder}/s")) as peer:
        assert peer.command("version").startswith("OK")
