# SPDX-License-Identifier: MIT
"""The server inside a program: its life cycle, its threads, forks, sockets and limits. fastgear's only."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from speak import cut, request

import fastgear.worker.attempt as attempt_module
from fastgear import (
    AdminClient,
    Client,
    ConfigError,
    ConnectionLost,
    QueueFull,
    Server,
    ServerConfig,
    ServerError,
    Worker,
)
from fastgear.stream import connect as dial

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand cannot be embedded")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("127.0.0.1:0") as running:
        yield running


def connect(server: Server) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), 5)


def read_packets(sock: socket.socket, count: int) -> list[tuple[str, tuple[bytes, ...]]]:
    found, rest = [], b""
    sock.settimeout(5)
    while len(found) < count:
        data = sock.recv(1 << 16)
        assert data, f"closed after {found}"
        more, rest = cut(rest + data)
        found += more
    return found


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder)


# -- life cycle


def test_creating_starts_nothing_and_stopping_twice_is_fine() -> None:
    server = Server("127.0.0.1:0")
    assert not server.running and server.addresses == ()
    with pytest.raises(RuntimeError, match="not running"):
        server.command("status")
    server.start()
    with pytest.raises(RuntimeError, match="runs already"):
        server.start()
    assert server.command("version").startswith("OK ")
    server.stop()
    server.stop()
    with pytest.raises(RuntimeError, match="not running"):
        server.snapshot()
    server.start()
    server.stop()


def test_several_listeners_and_servers_at_once(tmp_path: Path) -> None:
    with Server("127.0.0.1:0", f"unix:{tmp_path}/s", "[::1]:0", "unix:@fastgear-test") as one, Server(0) as two:
        for address in (*one.addresses, *two.addresses):
            with Client(address, timeout=5) as client:
                client.submit_background("f", b"")
        assert one.snapshot().functions[0].queued == 4
        assert two.snapshot().functions[0].queued == 1
        assert os.path.exists(tmp_path / "s")
    assert not os.path.exists(tmp_path / "s")


def test_a_restart_between_two_uses_is_not_noticed() -> None:
    server = Server("127.0.0.1:0")
    server.start()
    again = Server(server.address)
    with Client(server.address) as client, AdminClient(server.address) as admin:
        waiting = client.submit("f")
        assert admin.jobs()
        server.stop()
        with again:
            client.submit_background("f")
            assert len(admin.jobs()) == 1
            with pytest.raises(ConnectionLost) as caught:
                waiting.result()
            assert caught.value.handles == (waiting.handle,)


def test_every_interface_is_both_ip_versions() -> None:
    with Server(":0") as server:
        port = int(server.address.rpartition(":")[2])
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), 5).close()


def test_an_inherited_socket_is_served() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        with Server(f"fd:{sock.fileno()}") as server, Client(server.address) as client:
            assert client.echo(b"x") == b"x"
        with Server(sock) as server, Client(server.address) as client:
            assert client.echo(b"y") == b"y"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense", "no address|has no address"),
        ("127.0.0.1:99999", "no port"),
        ("::1:80", "brackets|no address"),
        ("fd:99", "no socket"),
        ("fd:x", "no descriptor"),
        ("no.such.host.invalid:1", "has no address"),
        ("unix:/" + "x" * 200, "107 bytes"),
        ("unix:", "names no Unix socket"),
        ("unix:@", "names no Unix socket"),
    ],
)
def test_bad_addresses_are_named(address: str, message: str) -> None:
    with pytest.raises((ConfigError, OSError), match=message):
        Server(address).start()


def test_an_address_of_a_name_that_the_machine_does_not_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ::1 for localhost, where IPv6 is switched off. 192.0.2.1 is nobody's."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: found)
    with Server("localhost:0") as server:
        assert [address.rpartition(":")[0] for address in server.addresses] == ["127.0.0.1"]
    del found[1]
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign requested address"):
        Server("localhost:0").start()


def test_a_busy_port_is_named_and_nothing_stays_open(server: Server) -> None:
    with pytest.raises(OSError, match=f"cannot listen on {server.address}: .*is another server running there"):
        Server("127.0.0.1:0", server.address).start()


def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with Server(f"unix:{path}"), pytest.raises(OSError, match="is another server running there"):
        Server(f"unix:{path}").start()


def test_stop_with_drain_finishes_the_jobs_and_takes_no_new_ones(server: Server) -> None:
    worker, client = connect(server), connect(server)
    worker.sendall(request("CAN_DO", b"f"))
    client.sendall(request("SUBMIT_JOB", b"f", b"", b"1") + request("SUBMIT_JOB", b"f", b"", b"2"))
    read_packets(client, 2)
    stopper = threading.Thread(target=server.stop, kwargs={"drain": 10})
    stopper.start()
    time.sleep(0.1)
    client.sendall(request("SUBMIT_JOB", b"f", b"", b"3"))
    assert read_packets(client, 1)[0] == (
        "ERROR",
        (b"SHUTDOWN_GRACEFUL", b"The server is shutting down and takes no new jobs"),
    )
    for _ in range(2):
        worker.sendall(request("GRAB_JOB"))
        (_, (handle, *_)) = read_packets(worker, 1)[0]
        worker.sendall(request("WORK_COMPLETE", handle, b"done"))
        assert read_packets(client, 1)[0] == ("WORK_COMPLETE", (handle, b"done"))
    stopper.join(5)
    assert not stopper.is_alive() and not server.running
    worker.close()
    client.close()


def test_stop_with_drain_gives_up_at_its_limit(server: Server) -> None:
    with Client(server.address) as client:
        client.submit_background("nobody", b"")
        start = time.monotonic()
        server.stop(drain=0.3)
        assert 0.25 < time.monotonic() - start < 2


def test_a_server_that_cannot_start_its_thread_is_a_stopped_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    server = Server("127.0.0.1:0")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            server.start()
    assert not server.running
    with server:
        assert server.command("status") == ".\n"


def test_a_loop_that_cannot_be_made_is_freed_well() -> None:
    from fastgear.server.loop import Loop

    with pytest.raises(OverflowError):
        Loop(ServerConfig(), b"H:", b"1", b"ERROR", b"x" * 16, -1)


# -- the GIL, threads and forks

HOLD = """
import ctypes, sys, time
from fastgear import Server
with Server("127.0.0.1:0") as server:
    print(server.address, flush=True)
    sys.stdin.readline()
    ctypes.PyDLL(None).usleep(2_000_000)  # a C call that keeps the GIL
    print("released", flush=True)
    sys.stdin.readline()
"""

LOAD = """
import sys, threading, time
from fastgear import Client, Worker
worker = Worker(sys.argv[1], prefetch=4)
worker.register("f", lambda job: job.workload)
thread = threading.Thread(target=worker.run)
thread.start()
end = time.monotonic() + float(sys.argv[2])
done = 0
with Client(sys.argv[1]) as client:
    client.submit("f", b"x").result()
    print("ready", flush=True)
    while time.monotonic() < end:
        client.submit("f", b"x").result(timeout=5)
        done += 1
worker.stop()
thread.join()
print(done)
"""


@pytest.mark.alone("a second or less is measured")
def test_jobs_go_on_while_the_program_holds_the_gil(tmp_path: Path) -> None:
    (tmp_path / "hold.py").write_text(textwrap.dedent(HOLD))
    (tmp_path / "load.py").write_text(textwrap.dedent(LOAD))
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "hold.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        address = holder.stdout.readline().strip()
        command = [sys.executable, str(tmp_path / "load.py"), address, "1.5"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            assert load.stdout is not None
            assert load.stdout.readline() == "ready\n"
            start = time.monotonic()
            holder.stdin.write("hold\n")
            holder.stdin.flush()
            done = int(load.stdout.readline())
            assert time.monotonic() - start < 2, "the load took longer than the GIL was held: nothing is shown"
        assert holder.stdout.readline() == "released\n"
        holder.stdin.write("end\n")
    assert done > 100


@pytest.mark.alone("seconds are measured")
@pytest.mark.parametrize("way", [[], ["--unix"]], ids=["tcp", "unix"])
def test_the_benchmark_of_the_gil_runs(way: list[str], tmp_path: Path) -> None:
    program = Path(__file__).parent.parent.parent / "benchmarks" / "gil.py"
    command = [sys.executable, str(program), "--rounds", "1", "--seconds", "0.3", *way]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "held over free: " in done.stdout


def test_questions_from_many_threads(server: Server) -> None:
    wrong: list[str] = []

    def ask() -> None:
        for _ in range(100):
            if server.command("status") != ".\n":
                wrong.append("status")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_forked_child_holds_nothing_of_the_server(server: Server) -> None:
    with Client(server.address) as client, connect(server):
        client.echo(b"x")
        before = set(os.listdir("/proc/self/fd"))
        pid = os.fork()
        if pid == 0:
            held = [os.readlink(f"/proc/self/fd/{fd}") for fd in before if os.path.exists(f"/proc/self/fd/{fd}")]
            ok = not server.running and sum("socket" in name for name in held) <= 3 and "epoll" not in str(held)
            server.stop()
            with Server("127.0.0.1:0") as own, Client(own.address) as inner:
                ok = ok and inner.echo(b"z") == b"z"
            os._exit(0 if ok else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert client.echo(b"y") == b"y"


def test_a_copy_of_a_socket_in_a_child_does_not_keep_it_in_the_loop(tmp_path: Path) -> None:
    """A fork that Python's hooks do not see: epoll would go on telling of a connection that is gone."""
    with Server(f"unix:{tmp_path}/s") as server:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(f"{tmp_path}/s")
        peer.sendall(request("ECHO_REQ", b"x"))
        peer.recv(100)
        pid = ctypes.CDLL(None).fork()
        if pid == 0:
            peer.close()
            time.sleep(1.5)
            os._exit(0)
        peer.close()
        time.sleep(0.2)
        before = server.snapshot().counters["turns_total"]
        time.sleep(0.5)
        assert server.snapshot().counters["turns_total"] - before < 50
        os.waitpid(pid, 0)


def test_connections_come_and_go_while_the_program_starts_processes(tmp_path: Path) -> None:
    with Server(f"unix:{tmp_path}/s") as server:
        done = threading.Event()

        def come_and_go() -> None:
            while not done.is_set():
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(f"{tmp_path}/s")
                    sock.sendall(request("ECHO_REQ", b"x"))
                    sock.recv(100)

        thread = threading.Thread(target=come_and_go)
        thread.start()
        for _ in range(100):
            subprocess.run(["true"], check=True)
        done.set()
        thread.join(10)
        deadline = time.monotonic() + 5
        while server.snapshot().counters["connections"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.snapshot().counters["connections"] == 0


def test_a_second_stop_hastens_a_drain(server: Server) -> None:
    with Client(server.address) as client:
        client.submit_background("nobody", b"")
    drain = threading.Thread(target=server.stop, args=(30.0,))
    drain.start()
    time.sleep(0.1)
    start = time.monotonic()
    server.stop()
    drain.join(5)
    assert time.monotonic() - start < 2 and not server.running


STOP_INTERRUPTED = """
import os, signal, threading, time
from fastgear import Client, Server
class Enough(Exception): pass
def enough(*_): raise Enough
signal.signal(signal.SIGALRM, enough)
server = Server(0)
server.start()
with Client(server.address) as client:
    client.submit_background("nobody", b"")
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        server.stop(30)
    except Enough:
        assert server.running and server.command("version").startswith("OK")
        assert client.echo(b"x") == b"x"
        server.stop()
        print("stopped", server.running)
"""


def test_a_stop_that_a_signal_handler_interrupts_can_be_done_again(tmp_path: Path) -> None:
    done = run_python(STOP_INTERRUPTED, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped False\n", "")


def test_all_that_was_sent_before_a_close_is_taken(tmp_path: Path) -> None:
    with Server(f"unix:{tmp_path}/s") as server:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"{tmp_path}/s")
            sock.sendall(request("SUBMIT_JOB_BG", b"f", b"", b"fire and forget") * 30_000)
        deadline = time.monotonic() + 10
        while server.snapshot().counters["connections"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.snapshot().functions[0].queued == 30_000


TAKE_ALL_DESCRIPTORS = """
import os, resource, socket, threading, time
from fastgear import Server
with Server(0) as server:
    host, _, port = server.address.rpartition(":")
    socks = [socket.socket() for _ in range(30)]
    limit = max(sock.fileno() for sock in socks) + 3
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    taken, done = [], threading.Event()
    def take():
        while not done.is_set():
            try:
                taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                pass
    thread = threading.Thread(target=take)
    thread.start()
    for sock in socks:
        sock.connect((host, int(port)))
    time.sleep(0.5)
    before = server.snapshot().counters["turns_total"]
    time.sleep(1)
    turns = server.snapshot().counters["turns_total"] - before
    done.set()
    thread.join()
    for fd in taken:
        os.close(fd)
    for sock in socks:
        sock.close()
    time.sleep(0.3)
    socket.create_connection((host, int(port)), 5).close()
    print("well" if turns < 500 else turns)
"""


def test_losing_the_last_descriptor_to_another_thread_does_not_spin(tmp_path: Path) -> None:
    done = run_python(TAKE_ALL_DESCRIPTORS, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "well\n", "")


def test_a_server_that_is_dropped_or_left_running_does_not_hang_the_interpreter(tmp_path: Path) -> None:
    code = "from fastgear import Server\nServer(0).start()\ns = Server(0)\ns.start()\nprint(s.command('version')[:2])"
    done = run_python(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "OK\n", "")


def test_the_first_example_of_the_readme_works(tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text()
    example, *_ = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    done = run_python(example, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("b'olleh'\n")


# -- limits and bad peers


def test_a_packet_over_the_limit_is_refused_and_the_next_one_is_served() -> None:
    with Server(0, config=ServerConfig(max_packet_size=100_000)) as server, connect(server) as sock:
        sock.sendall(request("SUBMIT_JOB", b"f", b"", b"x" * 200_000) + request("ECHO_REQ", b"here"))
        first, second = read_packets(sock, 2)
        assert first == ("ERROR", (b"ARGUMENT_TOO_LARGE", b"The packet is larger than the server allows"))
        assert second == ("ECHO_RES", (b"here",))


def test_the_memory_limit_refuses_jobs_and_serves_the_rest() -> None:
    with Server(0, config=ServerConfig(max_memory=1_000_000)) as server, Client(server.address) as client:
        for _ in range(9):
            client.submit_background("f", b"x" * 100_000)
        with pytest.raises(QueueFull, match="memory limit"):
            client.submit_background("f", b"x" * 200_000)
        assert client.echo(b"still") == b"still"


def test_announced_bytes_take_no_memory_before_they_arrive() -> None:
    with Server(0) as server:
        before = resident_bytes()
        socks = [connect(server) for _ in range(10)]
        for sock in socks:
            sock.sendall(b"\0REQ\0\0\0\x07" + (60 << 20).to_bytes(4, "big") + b"f\0u\0x")
        server.command("version")
        assert resident_bytes() - before < 20 << 20
        for sock in socks:
            sock.close()


def resident_bytes() -> int:
    """Of this process. AddressSanitizer keeps what is freed for a while: nothing can be told from it then."""
    if os.environ.get("FASTGEAR_ASAN") == "1":
        pytest.skip("memory is not measured under AddressSanitizer")
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_peer_that_never_reads_costs_a_bounded_amount() -> None:
    with Server(0, config=ServerConfig(max_output=4 << 20)) as server, connect(server) as sock:
        before = resident_bytes()
        sock.setblocking(False)
        echo, sent = request("ECHO_REQ", b"x" * 8192), 0
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and sent < 64 << 20:
            try:
                sent += sock.send(echo * 8)
            except BlockingIOError:
                time.sleep(0.01)
        assert resident_bytes() - before < 16 << 20
        with Client(server.address) as client:
            assert client.echo(b"others are served") == b"others are served"


def test_two_megabytes_of_requests_before_the_first_read(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(request("ECHO_REQ", b"x" * 2048) * 1000)
        assert len(read_packets(sock, 1000)) == 1000


def test_connections_over_the_limit_are_told() -> None:
    with Server(0, config=ServerConfig(max_connections=2)) as server, connect(server), connect(server):
        server.command("version")
        with connect(server) as third:
            assert read_packets(third, 1)[0][1][0] == b"TOO_MANY_CONNECTIONS"
            assert third.recv(1) == b""
        assert server.snapshot().counters["turned_away_total"] == 1


@pytest.fixture(params=["tcp", "unix"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a server that has as many connections as it may have."""
    config = ServerConfig(max_connections=1)
    with Server("127.0.0.1:0", f"unix:{tmp_path}/s", config=config) as server, connect(server):
        server.command("version")
        yield server.addresses[request.param == "unix"]


TURNED_AWAY = "the connection to .* broke: the server answered TOO_MANY_CONNECTIONS: The server has as many"


@pytest.mark.parametrize(
    "options", [{}, {"client_id": "me"}, {"exceptions": False}, {"exceptions": False, "client_id": "me"}], ids=str
)
def test_a_client_that_is_turned_away_learns_why(full: str, options: dict[str, Any]) -> None:
    for workload in [b"x"] * 20 + [b"x" * 3_000_000]:
        with Client(full, timeout=5, **options) as client, pytest.raises(ConnectionLost, match=TURNED_AWAY):
            client.submit("f", workload)


def test_an_admin_client_that_is_turned_away_learns_why(full: str) -> None:
    for command in ["status", "version", "maxqueue f 1"] * 10:
        with AdminClient(full) as admin, pytest.raises(ConnectionLost, match=TURNED_AWAY):
            admin.command(command)


def test_a_worker_that_is_turned_away_says_so_once_and_comes_back_less_and_less(
    full: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []
    monkeypatch.setattr(attempt_module, "connect", lambda *args: tried.append(time.monotonic()) or dial(*args))
    worker = Worker(full)
    worker.register("f", lambda job: b"")
    thread = threading.Thread(target=worker.run)
    thread.start()
    time.sleep(1.0)
    worker.stop()
    thread.join()
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert re.fullmatch(f"{TURNED_AWAY} connections as it may have; connecting again", message)
    assert 3 <= len(tried) <= 7, "the pauses double, from between 25 and 50 ms on"


EXHAUST = """
import resource, socket, time
from fastgear import Client, Server
with Server(0) as server, Client(server.address) as client:
    client.echo(b"x")
    host, _, port = server.address.rpartition(":")
    told, socks = 0, [socket.socket() for _ in range(40)]
    limit = max(sock.fileno() for sock in socks) + 6
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # of 40, the server can accept five
    for sock in socks:
        sock.connect((host, int(port)))
    client.echo(b"y")
    for sock in socks[-3:]:
        sock.settimeout(1)
        try:
            told += b"TOO_MANY_CONNECTIONS" in sock.recv(200)
        except TimeoutError:
            pass
    for sock in socks:
        sock.close()
    time.sleep(0.1)
    with Client(server.address) as again:
        again.echo(b"z")
    print("served", server.snapshot().counters["turned_away_total"] > 0)
"""


def test_running_out_of_descriptors_is_survived(tmp_path: Path) -> None:
    done = run_python(EXHAUST, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "served True\n", "")


def test_half_a_packet_harms_nobody(server: Server) -> None:
    with connect(server) as half, Client(server.address) as client:
        half.sendall(request("SUBMIT_JOB", b"f", b"", b"x" * 1000)[:500])
        assert client.echo(b"x") == b"x"
        half.sendall(request("SUBMIT_JOB", b"f", b"", b"x" * 1000)[500:])
        assert read_packets(half, 1)[0][0] == "JOB_CREATED"


def test_the_last_answer_arrives_before_the_close(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(b"\0BAD" + b"x" * 500_000)
        (name, args), *_ = read_packets(sock, 1)
        assert (name, args[0]) == ("ERROR", b"INVALID_MAGIC")
        assert sock.recv(100) == b""


def test_connections_that_come_and_go(server: Server) -> None:
    for _ in range(300):
        sock = connect(server)
        sock.sendall(request("CAN_DO", b"f") + request("PRE_SLEEP") + request("SUBMIT_JOB", b"f", b"", b"x"))
        sock.close()
    deadline = time.monotonic() + 5
    while server.snapshot().counters["connections"] and time.monotonic() < deadline:
        time.sleep(0.01)
    snapshot = server.snapshot()
    assert snapshot.counters["connections"] == 0
    assert (snapshot.functions[0].total, snapshot.functions[0].workers) == (0, 0)


def test_the_admin_client(server: Server) -> None:
    with AdminClient(server.address) as admin, Client(server.address, client_id="me too") as client:
        handle = client.submit_background("f", b"x", unique="u v")
        assert admin.version() == server.command("version").split()[1]
        assert admin.jobs()[0].handle == handle and admin.jobs()[0].background
        assert admin.uniques() == ["u v"]
        assert admin.priority_status()[0].normal == 1
        assert "me too" in {connection.client_id for connection in admin.workers()}
        admin.cancel(handle)
        with pytest.raises(ServerError, match="UNKNOWN_JOB"):
            admin.cancel(handle)
        admin.drop_function("f")
        assert admin.status() == []
        assert admin.counters()["cancelled_total"] == 1
    with AdminClient("127.0.0.1:1") as nobody, pytest.raises(ConnectionLost):
        nobody.status()


def test_pydll_really_keeps_the_gil() -> None:
    """The tests above are worth nothing otherwise."""
    ticks: list[float] = []
    thread = threading.Thread(target=lambda: [ticks.append(time.monotonic()) or time.sleep(0.01) for _ in range(30)])
    thread.start()
    time.sleep(0.05)
    start = time.monotonic()
    ctypes.PyDLL(None).usleep(200_000)
    end = time.monotonic()
    thread.join()
    assert not [tick for tick in ticks if start + 0.02 < tick < end - 0.02]
