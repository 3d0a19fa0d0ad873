# SPDX-License-Identifier: MIT
"""gearmand's command line, given to ``fastgear serve``: for each option its effect is seen, its log line, or its refusal."""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import GEARMAND, free_port, need
from serving import SERVE, connected, run_serve, serving, shared, until

from fastgear.cli.main import main
from fastgear.cli.settings import KINDS
from fastgear.config import options

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="is about fastgear's command line")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")

HERE = ("--listen=127.0.0.1", "--port=0")
NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = [  # who may not be able to read this Python, so it is loaded before
    sys.executable,
    "-c",
    "import locale, os, sys, fastgear.cli.main; from fastgear.cli.serve import load_code; load_code(); "
    f"os.setresuid(*3 * [{NOBODY.pw_uid}]); sys.exit(fastgear.cli.main.main(['serve', *sys.argv[1:]]))",
]

# Every option of gearmand's, 1.1 as Debian builds it and 2.0 in any build, apart from --help and --version.
OPTIONS = [
    "backlog", "check-args", "config-file", "coredump", "daemon", "exceptions", "file-descriptors",
    "hashtable-buckets", "http-port", "job-handle-prefix", "job-retries", "keepalive", "keepalive-count",
    "keepalive-idle", "keepalive-interval", "libdrizzle-db", "libdrizzle-host", "libdrizzle-mysql",
    "libdrizzle-password", "libdrizzle-port", "libdrizzle-table", "libdrizzle-uds", "libdrizzle-user",
    "libmemcached-prefix", "libmemcached-servers", "libpq-conninfo", "libpq-table", "libsqlite3-db",
    "libsqlite3-table", "libtokyocabinet-file", "libtokyocabinet-optimize", "listen", "log-file", "mysql-db",
    "mysql-host", "mysql-password", "mysql-port", "mysql-table", "mysql-user", "pid-file", "port", "protocol",
    "queue-type", "redis-password", "redis-port", "redis-prefix", "redis-server", "round-robin", "ssl",
    "ssl-ca-file", "ssl-certificate", "ssl-key", "store-queue-on-shutdown", "syslog", "threads", "user", "verbose",
    "worker-wakeup",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def status_of(pid: int, name: str) -> list[str]:
    """A line of /proc/PID/status."""
    text = Path(f"/proc/{pid}/status").read_text()
    return text.split(f"\n{name}:")[1].split("\n")[0].split()


def limit_of(pid: int, name: str) -> list[str]:
    """The soft and the hard one."""
    (line,) = re.findall(rf"^{name} +(\S+) +(\S+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
    return list(line)


# -- the job server


def test_listen_takes_a_host_and_port_its_port(folder: Path) -> None:
    port = free_port()
    for words in (
        ("--listen", "127.0.0.1", "--port", str(port)),
        ("-L127.0.0.1", f"-p{port}"),
        (f"--listen=127.0.0.1:{port}", "--port=1"),
    ):
        with serving(folder, *words) as server:
            assert server.addresses == [f"127.0.0.1:{port}"]
            with server.peer() as peer:
                assert peer.command("version").startswith("OK ")
            code, log = server.stop()
            assert (code, log) == (0, f"fastgear: serving on 127.0.0.1:{port}\nfastgear: stopped\n")


def test_listen_may_be_a_name_with_several_addresses(folder: Path) -> None:
    """As in gearmand, the server is on each of them, with one port."""
    with serving(folder, "-L", "localhost", "-p", "0") as server:
        found = {socket.getaddrinfo(*address.strip("[]").rsplit(":", 1))[0][4] for address in server.addresses}
        wanted = {info[4][0] for info in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
        assert {address[0] for address in found} == wanted and len({address[1] for address in found}) == 1


def test_without_listen_it_is_on_loopback_only_and_says_so(folder: Path) -> None:
    port = free_port()
    with serving(folder, environment={"GEARMAND_PORT": str(port)}) as server:
        assert server.addresses == [f"127.0.0.1:{port}"]
        assert server.log.startswith(
            f"fastgear: without --listen only this machine gets in; --listen=:{port} would be every interface, "
            "as in gearmand\n"
        )


def test_the_clients_variable_names_the_server(folder: Path) -> None:
    with serving(folder, *HERE) as server:
        for name in ("GEARMAN_SERVER", "GEARMAN_SERVERS"):
            command = [*SERVE[:-1], "submit", "-b", "f", "x"]
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env={**os.environ, name: server.address},
                timeout=20,
                cwd=folder,
            )
            assert done.returncode == 0 and done.stdout.startswith("H:"), done.stderr


def test_job_handle_prefix(folder: Path) -> None:
    with serving(folder, *HERE, "--job-handle-prefix=X:mine") as server, server.peer() as peer:
        peer.send("SUBMIT_JOB_BG", b"f", b"", b"x")
        name, (handle,) = peer.receive()
        assert name == "JOB_CREATED" and re.fullmatch(rb"X:mine:\d+", handle)


@pytest.mark.parametrize(("retries", "losses"), [("0", 1), ("1", 1), ("2", 2)])
def test_job_retries(retries: str, losses: int, folder: Path) -> None:
    with serving(folder, *HERE, "-j", retries) as server, server.peer() as client:
        client.send("SUBMIT_JOB", b"f", b"", b"x")
        assert client.receive()[0] == "JOB_CREATED"
        for _ in range(losses):
            with server.peer() as worker:
                worker.send("CAN_DO", b"f")
                worker.send("GRAB_JOB")
                assert worker.receive()[0] == "JOB_ASSIGN"
        assert client.receive()[0] == "WORK_FAIL"
        assert ("0 is no second try" in server.log) == (retries == "0")


@pytest.mark.parametrize(("wakeup", "woken"), [("0", 3), ("2", 2), ("1", 1)])
def test_worker_wakeup(wakeup: str, woken: int, folder: Path) -> None:
    with serving(folder, *HERE, "-w", wakeup, "--rescue-ms=3600000") as server, server.peer() as client:
        workers = [server.peer() for _ in range(3)]
        for worker in workers:
            worker.send("CAN_DO", b"f")
            worker.send("PRE_SLEEP")
            worker.send("ECHO_REQ", b"asleep")
            assert worker.receive() == ("ECHO_RES", (b"asleep",))
        client.send("SUBMIT_JOB_BG", b"f", b"", b"x")
        assert client.receive()[0] == "JOB_CREATED"
        for worker in workers:
            worker.send("ECHO_REQ", b"end")
        assert [worker.receive()[0] for worker in workers].count("NOOP") == woken
        for worker in workers:
            worker.socket.close()


@pytest.mark.parametrize("words", [(), ("--exceptions",)])
def test_exceptions(words: tuple[str, ...], folder: Path) -> None:
    with serving(folder, *HERE, *words) as server, server.peer() as client, server.peer() as worker:
        client.send("SUBMIT_JOB", b"f", b"", b"x")
        assert client.receive()[0] == "JOB_CREATED"
        worker.send("CAN_DO", b"f")
        worker.send("GRAB_JOB")
        handle = worker.receive()[1][0]
        worker.send("WORK_EXCEPTION", handle, b"no luck")
        assert client.receive()[0] == ("WORK_EXCEPTION" if words else "WORK_FAIL")


def test_keepalive_and_backlog_are_set_on_the_socket(folder: Path) -> None:
    """Of a socket that the test shares with the server, which shows what the server has set."""
    ask = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    with shared(socket.socket()) as ours:
        ours.bind(("127.0.0.1", 0))
        systems = [ours.getsockopt(socket.IPPROTO_TCP, name) for name in ask]
        listen = ("--listen", f"fd:{ours.fileno()}", "--backlog=77")
        for words, on, values in (
            (("--no-keepalive",), 0, systems),
            (("--keepalive", "--keepalive-idle=-1", "--keepalive-interval", "-1", "--keepalive-count=-1"), 1, systems),
            (("--keepalive-idle=101", "--keepalive-interval=11", "--keepalive-count=7"), 1, [101, 11, 7]),
        ):
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
            with serving(folder, *listen, *words, pass_fds=[ours.fileno()]) as server:
                assert server.address
                assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == on
                assert [ours.getsockopt(socket.IPPROTO_TCP, name) for name in ask] == values
                info = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
                assert struct.unpack_from("I", info, 28) == (77,), "which is where a listening socket has its backlog"


# -- its process


def test_file_descriptors(folder: Path) -> None:
    with serving(folder, *HERE, "-f", "123") as server:
        assert server.address and limit_of(server.pid, "Max open files")[0] == "123"
    with serving(folder, *HERE) as server:
        soft, hard = limit_of(server.pid, "Max open files") if server.address else ("", "")
        assert soft == hard
    command = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", *(SERVE if os.geteuid() else AS_NOBODY)]
    code, _, errors = run_serve(folder, *HERE, "-f", "201", command=command)
    assert (code, errors) == (
        1,
        "fastgear serve: --file-descriptors: 201 is more than the 200 that this user may have\n",
    )


def test_coredump(folder: Path) -> None:
    command = ["sh", "-c", 'ulimit -Sc 0; exec "$@"', "sh", *SERVE]
    for words, soft in (((), "0"), (("--coredump",), None)):
        with serving(folder, *HERE, *words, command=command) as server:
            assert server.address
            found = limit_of(server.pid, "Max core file size")
            assert found[0] == (soft or found[1])


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder that nobody may write to, by name; those of pytest are closed to other users."""
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, NOBODY.pw_uid, NOBODY.pw_gid)
        yield Path(name)


@as_root
def test_user_is_dropped_to_for_good_with_its_groups(nobodys: Path) -> None:
    folder = nobodys
    with serving(folder, *HERE, "--user=nobody", "-P", "pid", "-l", "log", "-L", f"unix:{folder}/s") as server:
        until(lambda: (folder / "pid").exists())
        assert status_of(server.pid, "Uid") == [str(NOBODY.pw_uid)] * 4
        assert status_of(server.pid, "Gid") == [str(NOBODY.pw_gid)] * 4
        assert status_of(server.pid, "Groups") == [str(one) for one in os.getgrouplist("nobody", NOBODY.pw_gid)]
        assert status_of(server.pid, "CapEff") == status_of(server.pid, "CapPrm") == ["0" * 16]
        for thread in Path(f"/proc/{server.pid}/task").iterdir():
            assert f"Uid:\t{NOBODY.pw_uid}\t" in (thread / "status").read_text()
        for name in ("pid", "log", "s"):
            assert (folder / name).stat().st_uid == NOBODY.pw_uid
        assert server.stop() == (0, "")
    assert not (folder / "pid").exists() and not (folder / "s").exists()


@as_root
def test_user_may_have_a_store_also_when_it_cannot_read_this_python(nobodys: Path) -> None:
    """Every module is loaded before; here SQLite's would not be found any more."""
    closed = (
        "import os, sys, fastgear.cli.serve as serve, fastgear.cli.main; switch = serve.switch_user; "
        "serve.switch_user = lambda name: (switch(name), sys.path.clear(), sys.path_importer_cache.clear()); "
        "sys.exit(fastgear.cli.main.main(['serve', *sys.argv[1:]]))"
    )
    command = [sys.executable, "-c", closed]
    with serving(nobodys, *HERE, "--user=nobody", "--store=jobs.db", command=command) as server:
        with server.peer() as peer:
            peer.send("SUBMIT_JOB_BG", b"f", b"", b"1")
            assert peer.receive()[0] == "JOB_CREATED"
        assert (nobodys / "jobs.db").stat().st_uid == NOBODY.pw_uid
        assert server.stop() == (0, server.log)
    with serving(nobodys, *HERE, "--user=nobody", "--store=jobs.db", command=command) as server, server.peer() as peer:
        assert peer.command("status") == "f\t1\t0\t0"


@as_root
def test_user_must_be_able_to_write_the_store(nobodys: Path) -> None:
    path = nobodys / "jobs.db"
    for mode, owner in ((0o600, 0), (0o400, NOBODY.pw_uid)):
        path.unlink(missing_ok=True)
        path.touch(mode)
        os.chown(path, owner, 0)
        code, _, errors = run_serve(nobodys, *HERE, "--user=nobody", "--store=jobs.db")
        assert code == 1
        assert errors == f"fastgear serve: {path} cannot be read and written by user {NOBODY.pw_uid}\n"


@as_root
def test_user_leaves_core_files_to_coredump(folder: Path) -> None:
    """A process that has changed its user leaves none, unless it says so; then its files in /proc are its own."""
    for words, owner in (((), 0), (("--coredump",), NOBODY.pw_uid)):
        with serving(folder, *HERE, "-u", "nobody", *words) as server:
            assert server.address and os.stat(f"/proc/{server.pid}/environ").st_uid == owner


@as_root
def test_user_must_exist_and_be_allowed(folder: Path) -> None:
    assert run_serve(folder, *HERE, "--user=no-such-user") == (
        1,
        "",
        "fastgear serve: --user: there is no user 'no-such-user'\n",
    )
    code, _, errors = run_serve(folder, *HERE, "--user=root", command=AS_NOBODY)
    assert (code, errors) == (1, "fastgear serve: --user: only root may become 'root'\n")
    with serving(folder, *HERE, "--user=nobody", command=AS_NOBODY) as server:
        assert server.address, "who it is already, anybody may be"


def test_verbose(folder: Path) -> None:
    for level, said in (
        ("DEBUG", ("starts with pid", "--verbose is 'DEBUG'", "serving on")),
        ("INFO", ("starts with pid", "serving on")),
        ("NOTICE", ("serving on",)),
        ("ERROR", ()),
    ):
        with serving(folder, *HERE, f"--listen=unix:{folder}/s", "--verbose", level) as server:
            until((folder / "s").exists)
            with until(lambda: connected(f"unix:{folder}/s")) as peer:
                assert peer.command("verbose") == f"OK {level}"
            code, log = server.stop()
            assert code == 0 and ("stopped" in log) == bool(said), log
            for text in ("starts with pid", "--verbose is 'DEBUG'", "serving on"):
                assert (text in log) == (text in said), log


LINE = re.compile(r" *(FATAL|ERROR|WARNING|NOTICE|INFO|DEBUG) \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} \[  main \] (.*)")


def test_log_file_has_gearmand_s_lines_and_is_opened_anew_at_sighup(folder: Path) -> None:
    log = folder / "log"
    with serving(folder, *HERE, "--log-file=log", "--verbose=INFO") as server:
        until(lambda: log.exists() and "serving on" in log.read_text())
        log.rename(folder / "log.1")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: log.exists() and "SIGHUP" in log.read_text())
        assert server.stop() == (0, ""), "nothing on standard error"
    old, new = ((folder / name).read_text().splitlines() for name in ("log.1", "log"))
    found = [LINE.fullmatch(line) for line in old + new]
    assert all(found), old + new
    assert [match[1] for match in found if match] == ["INFO", "NOTICE", "NOTICE", "NOTICE"]
    assert new[0].endswith("SIGHUP: the log was opened anew") and new[1].endswith("stopped")


def test_log_file_that_cannot_be_opened_is_standard_error(folder: Path) -> None:
    with serving(folder, *HERE, "-l", "no/such/log") as server:
        assert server.address
        assert server.log.startswith(
            f"fastgear: error: the log file {folder}/no/such/log cannot be opened: No such file"
        )
    log = folder / "folder" / "log"
    log.parent.mkdir()
    with serving(folder, *HERE, "-l", str(log)) as server:
        until(lambda: log.exists() and "serving on" in log.read_text())
        log.rename(folder / "log.1")
        log.parent.rmdir()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "logging to the old one" in (folder / "log.1").read_text())
        assert server.stop()[0] == 0


@pytest.mark.parametrize(("file", "said"), [("none", False), ("stderr", True)])
def test_log_file_none_and_stderr(file: str, said: bool, folder: Path) -> None:
    with serving(folder, *HERE, "-P", "pid", "--log-file", file) as server:
        until((folder / "pid").exists)
        server.process.send_signal(signal.SIGHUP)  # there is nothing to open anew
        code, log = server.stop()
        assert code == 0 and ("serving on" in log) == said
    assert {path.name for path in folder.iterdir() if not path.name.startswith("stderr")} == set()


def test_standard_error_that_nobody_reads_stops_nobody(folder: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"x" * 4096)
        except BlockingIOError:
            break
    command = [
        sys.executable,
        "-c",
        f"import os, sys; os.dup2({writer}, 2); os.execv(sys.argv[1], sys.argv[1:])",
        *SERVE,
    ]
    with serving(folder, *HERE, "-P", "pid", command=command, pass_fds=[writer]) as server:
        until((folder / "pid").exists)
        os.close(reader)
        server.process.send_signal(signal.SIGHUP)
        assert server.stop()[0] == 0
    os.close(writer)


@pytest.mark.skipif(
    os.geteuid() != 0 or os.path.exists("/dev/log"), reason="root can stand in for a system's log that is not there"
)
def test_syslog(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind("/dev/log")
        try:
            syslog.settimeout(20)
            with serving(folder, *HERE, "--syslog") as server:
                text = syslog.recv(4096).decode()
                assert re.fullmatch(rf"<13>.* fastgear\[{server.pid}\]:  NOTICE serving on .*", text.rstrip("\0\n")), (
                    text
                )
                assert server.stop() == (0, ""), "which is all the log there is"
            with serving(folder, *HERE, "--syslog", "--log-file=log") as server:
                assert "serving on" in syslog.recv(4096).decode() + syslog.recv(4096).decode()
                assert server.stop()[0] == 0 and "serving on" in (folder / "log").read_text()
        finally:
            os.unlink("/dev/log")


def test_standard_error_that_is_the_journal_gets_priorities(folder: Path) -> None:
    code = """import os, sys
s = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{s.st_dev}:{s.st_ino}"
os.execv(sys.argv[1], sys.argv[1:])"""
    with serving(folder, *HERE, "-t", "4", command=[SERVE[0], "-c", code, *SERVE]) as server:
        until(lambda: "serving on" in server.log)
        assert re.fullmatch(r"<5>--threads has no effect: .*\n<5>serving on .*\n", server.log)


def test_pid_file(folder: Path) -> None:
    path = folder / "pid"
    path.write_text("a stale one\n")
    with serving(folder, *HERE, "--pid-file=pid") as server:
        assert server.address and path.read_text() == f"{server.pid}\n"
        assert path.stat().st_mode & 0o777 == 0o644
        assert server.stop()[0] == 0
    assert not path.exists()
    with serving(folder, *HERE, "-P", str(path)) as server:
        assert server.address
        path.write_text("somebody else's\n")
        assert server.stop()[0] == 0
    assert path.read_text() == "somebody else's\n"


def test_pid_file_is_not_there_before_the_server_serves(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, errors = run_serve(folder, "-L", "127.0.0.1", "-p", str(port), "-P", "pid", "-l", "log")
    assert (code, errors) == (
        1,
        f"fastgear serve: cannot listen on 127.0.0.1:{port}: Address already in use; is another server running there?\n",
    )
    assert [path.name for path in folder.iterdir()] == ["log"]
    match = LINE.fullmatch((folder / "log").read_text().strip())
    assert match and (match[1], match[2].split(":")[0]) == ("ERROR", "cannot listen on 127.0.0.1")


@pytest.mark.parametrize("text", ['listen = "127.0.0.1"\nport = {}\n', "--listen 127.0.0.1\n--port={}\n"])
def test_config_file(text: str, folder: Path) -> None:
    port = free_port()
    (folder / "conf").write_text(text.format(port) + "# the end\n")
    with serving(folder, "--config-file", "conf") as server:
        assert server.addresses == [f"127.0.0.1:{port}"]
    other = free_port()
    with serving(folder, "--config-file", "conf", environment={"GEARMAND_PORT": str(other)}) as server:
        assert server.addresses == [f"127.0.0.1:{other}"]
    with serving(folder, "--config-file", "conf", "-p", "0", environment={"GEARMAND_PORT": "1"}) as server:
        assert server.addresses != [f"127.0.0.1:{port}"]


def test_check_args_starts_nothing(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ("-L", "127.0.0.1", "-p", str(taken.getsockname()[1]), "-P", "pid", "-l", "log", "-d", "-u", "nobody")
        for flag in ("--check-args", "--check-config"):
            assert run_serve(folder, flag, *words) == (0, "", "")
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--port=abc", "--port: 'abc' is no port and no service's name"),
        ("word", "unrecognised option 'word'; see fastgear serve --help"),
        ("--config-file=bad.toml", "bad.toml, line 2: backlog: 'many' is not a whole number"),
        ("--listen=unix:", "listen: 'unix:' names no Unix socket; write unix:/path"),
        ("--listen=a:b:c", "listen: 'a:b:c' is no address; write host:port, [ipv6]:port, unix:/path or fd:N"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_and_nothing_starts(words: str, message: str, folder: Path) -> None:
    (folder / "bad.toml").write_text("port = 0\nbacklog = 'many'\n")
    for more in ((), ("--check-args",), ("--daemon",)):
        found = run_serve(folder, words, "-P", "pid", "-l", "log", *more)
        assert found == (2, "", f"fastgear serve: {message}\n")
    assert [path.name for path in folder.iterdir()] == ["bad.toml"]


def test_version_and_help(folder: Path) -> None:
    for flag in ("--version", "-V"):
        code, output, errors = run_serve(folder, flag)
        assert code == 0 and re.fullmatch(r"fastgear \d\S*\n", output) and not errors
    for flag in ("--help", "-h"):
        code, output, errors = run_serve(folder, flag)
        assert code == 0 and "--job-handle-prefix" in output and not errors


# -- gearmand's options that are not ours


def test_options_without_a_meaning_here_get_a_line_in_the_log(folder: Path) -> None:
    words = {
        "threads": "8", "hashtable-buckets": "991", "http-port": "8080", "ssl-ca-file": "f", "ssl-certificate": "f",
        "ssl-key": "f", "queue-type": "builtin", "libsqlite3-db": "f",
    }  # fmt: skip
    flags = [f"--{name}={value}" for name, value in words.items()]
    with serving(folder, *HERE, *flags, "--round-robin", "--store-queue-on-shutdown") as server:
        assert server.address
        for name in (*words, "round-robin", "store-queue-on-shutdown"):
            assert re.search(rf"^fastgear: --{name} has no effect: .+", server.log, re.MULTILINE), name
    with serving(folder, *HERE, environment={"GEARMAND_SERVER_KEY": "f"}) as server:
        assert server.address and "GEARMAND_SERVER_KEY has no effect" in server.log


REFUSED = {
    "--protocol": "http", "--ssl": "", "--queue-type": "Postgres", "--libpq-conninfo": "host=h",
    "--redis-server": "h", "--mysql-host": "h", "--libmemcached-servers": "h",
    "--libdrizzle-host": "h", "--libtokyocabinet-file": "f",
}  # fmt: skip


@pytest.mark.parametrize("flag", REFUSED)
def test_options_that_must_not_be_passed_over_are_refused_and_nothing_starts(flag: str, folder: Path) -> None:
    words = [flag, REFUSED[flag]] if REFUSED[flag] else [flag]
    for more in ((), ("--check-args",)):
        code, output, errors = run_serve(folder, *HERE, *words, "-P", "pid", "-l", "log", *more)
        assert (code, output, errors.count("\n")) == (1, "", 1)
        assert errors.startswith(f"fastgear serve: {flag}: ")
    assert not list(folder.iterdir())


# -- beside gearmand

TAKEN = [
    *(f"--{name}" for name in ("coredump", "daemon", "exceptions", "keepalive", "round-robin", "syslog")),
    "--backlog=10", "--backlog 10", "-b 10", "-b10", "--backlog +5", "-d", "-dR", "-Rdp 4730", "-f 100",
    "--file-descriptors=100", "--hashtable-buckets=5", "--http-port=90", "--job-handle-prefix=X", "--job-retries=3", "-j 3",
    "-j3", "-j -1", "--keepalive-idle=3", "--keepalive-idle=-1", "--keepalive-interval=3", "--keepalive-interval -1",
    "--keepalive-count=3", "--keepalive-count=-1", "--listen=10", "--listen localhost", "-L ::1", "--log-file=x",
    "-l none", "-l stderr", "--pid-file=x", "-P x", "--port=1", "-p 1", "-p1", "-p=1", "--queue-type=builtin", "-q none",
    "--libsqlite3-db=x", "-q libsqlite3 --libsqlite3-db x --libsqlite3-table=t",
    "--ssl-ca-file=x", "--ssl-certificate=x", "--ssl-key=x", "--threads=2", "-t 0", "-t2", "-t -1", "--user=nobody",
    "-u no-such-user", "--verbose=DEBUG", "--verbose FATAL", "--worker-wakeup=1", "-w 0", "-w 300", "--config-file=good.conf",
    "--help", "-h", "--version", "-V", "--", "--port=1 --listen=h --backlog=3 -j 0 --verbose INFO -d",
]  # fmt: skip
NOT_TAKEN = [
    "word", "--log", "--log-fil=x", "--verbose=BAD", "--verbose=debug", "-vvv", "--config-file", "--config-file=no/file",
    "--port", "-p", "--port=", "--listen=", "--backlog=abc", "--backlog=1.5", "--backlog 0x10", "--coredump=yes", "-d -d",
    "--port=1 -p 1", "--keepalive --keepalive", "--hashtable-buckets=0", "--config-file=bad.conf", "-x", "--nothing",
    "--mysql-port=x",
]  # fmt: skip
ONLY_GEARMAND = {
    "--port=abc": "it would find out when it starts",
    "--backlog=0": "a server that nobody can wait for",
    "--backlog=-1": "the same",
    "--job-retries=-2": "2.0 refuses it as well",
    "--keepalive-idle=0": "no system takes it",
    "--file-descriptors=-1": "there are no such numbers",
    "--config-file=ignored.conf": "what is no option there does nothing, without a word",
    "--protocol=http": "not there",
    "--ssl": "not there; Debian's gearmand takes it and speaks plain text",
    "--queue-type=libsqlite3": "it would find out when it starts that it was not told which file",
    "--queue-type=nonsense": "it would find out when it starts",
    "--libpq-conninfo=x": "not there",
    "--redis-server=x": "not there",
    "--mysql-host=x": "not there",
    "--libmemcached-servers=x": "not there",
}
ONLY_FASTGEAR = {
    "--listen a --listen b": "any number of addresses",
    "--no-keepalive": "each switch can be switched off, since the environment or a file may have switched it on",
    "--config-file=fastgear.toml": "where gearmand sees words that are no options, and one that is none of its own",
}


@pytest.fixture
def conf(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder / "good.conf").write_text("--port 4731\n--backlog=10\n-j 3\n")
    (folder / "bad.conf").write_text("--port 4731\n--no-such-option\n")
    (folder / "ignored.conf").write_text("--port 4731\nbacklog=10\n")
    (folder / "fastgear.toml").write_text('import = "tasks"\njob-retries = -1\n')
    monkeypatch.chdir(folder)
    return folder


PLAIN = {"LD_PRELOAD": ""}  # no sanitizer of ours


def gearmand_takes(line: str, folder: Path) -> bool:
    if GEARMAND is None:
        need("gearmand", "gearman-job-server")
    return run_serve(folder, "--check-args", *line.split(), command=[str(GEARMAND)], environment=PLAIN)[0] == 0


def fastgear_takes(line: str) -> bool:
    """What a process would do, without a process."""
    try:
        return main(["serve", "--check-args", *line.split()]) == 0
    except SystemExit as error:  # of --help and --version
        return error.code == 0


@pytest.mark.parametrize("line", TAKEN)
def test_what_gearmand_takes_is_taken(line: str, conf: Path) -> None:
    assert (gearmand_takes(line, conf), fastgear_takes(line)) == (True, True)


@pytest.mark.parametrize("line", NOT_TAKEN)
def test_what_gearmand_does_not_take_is_not_taken(line: str, conf: Path) -> None:
    assert (gearmand_takes(line, conf), fastgear_takes(line)) == (False, False)


@pytest.mark.parametrize("line", [*ONLY_GEARMAND, *ONLY_FASTGEAR])
def test_the_differences_are_those_that_are_named(line: str, conf: Path) -> None:
    only_gearmand = line in ONLY_GEARMAND
    assert (gearmand_takes(line, conf), fastgear_takes(line)) == (only_gearmand, not only_gearmand)


def known_flags() -> set[str]:
    return {flag for kind in KINDS for _, option, _ in options(kind) for flag in option.flags}


def test_every_option_of_gearmand_s_is_known(folder: Path) -> None:
    assert {f"--{name}" for name in OPTIONS} <= known_flags()


def test_every_option_in_the_help_of_the_gearmand_that_is_installed_is_known(folder: Path) -> None:
    if GEARMAND is None:
        need("gearmand", "gearman-job-server")
    _, output, _ = run_serve(folder, "--help", command=[str(GEARMAND)], environment=PLAIN)
    found = re.findall(r"^  (?:(-\w) \[ )?(--[\w-]+)", output, re.MULTILINE)
    flags = {flag for pair in found for flag in pair if flag} - {"-h", "--help", "-V", "--version"}
    assert len(flags) > 50 and flags <= known_flags()
