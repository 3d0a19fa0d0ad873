# SPDX-License-Identifier: MIT
"""The plain Python helpers: configuration, addresses, choice of server, replies, registry, CPUs."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest

import fastgear
from fastgear import ConfigError, RemoteProtocolError, ServerConfig, ServerError
from fastgear.addresses import Address, default_servers
from fastgear.cpus import usable_cpus
from fastgear.protocol import replies
from fastgear.servers import Backoff, Servers
from fastgear.threads import expect_the_gil
from fastgear.worker.registry import Registry

# -- configuration


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("backlog", 0, "backlog: 0 is out of range; it is from 1 to 2,147,483,647"),
        ("max_output", 10, "max_output: 10 is out of range; it is from 65,536 to"),
        ("job_retries", "3", "job_retries: '3' is not a whole number"),
        ("job_retries", True, "job_retries: True is not a whole number"),
        ("timeout_policy", "maybe", "timeout_policy: 'maybe' is not one of requeue, fail"),
        ("handle_prefix", "x" * 42, "handle_prefix: at most 41 bytes"),
        ("handle_prefix", "a b", "handle_prefix: .*without blanks"),
        ("handle_prefix", "\udcff", "handle_prefix: at most 41 bytes"),
        ("listen", (), "listen: a server needs at least one address"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(field: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServerConfig(**{field: value})  # type: ignore[arg-type]


# -- addresses


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("localhost", Address(host="localhost"), "localhost:4730"),
        ("127.0.0.1:80", Address(host="127.0.0.1", port=80), "127.0.0.1:80"),
        ("[::1]:80", Address(host="::1", port=80), "[::1]:80"),
        ("[::1]", Address(host="::1"), "[::1]:4730"),
        (":80", Address(host="", port=80), ":80"),
        ("unix", Address(host="unix"), "[unix]:4730"),
        ("unix:/run/x", Address(path="/run/x"), "unix:/run/x"),
        ("unix:@abstract", Address(path="@abstract"), "unix:@abstract"),
    ],
)
def test_addresses_are_read_as_they_are_written(text: str, address: Address, written: str) -> None:
    assert Address.parse(text) == address
    assert str(address) == written
    assert Address.parse(written) == address


@pytest.mark.parametrize(
    "text",
    [
        "::1:80",
        "[::1",
        "[::1]80",
        "host:port",
        "host:70000",
        "host:" + 5000 * "1",
        "host:-1",
        "a b:1",
        "unix:",
        "unix:@",
        "/run/x",
        "tcp://host:1",
    ],
)
def test_what_is_no_address_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ConfigError):
        Address.parse(text)


def test_an_abstract_path_begins_with_a_nul_on_the_socket() -> None:
    assert Address.parse("unix:@x").socket_path == "\0x"
    assert Address.parse("unix:/x").socket_path == "/x"


def test_the_environment_names_the_servers() -> None:
    assert default_servers({}) == ("127.0.0.1:4730",)
    assert default_servers({"GEARMAN_SERVER": "a"}) == ("a",)
    assert default_servers({"GEARMAN_SERVERS": " b , c:1,", "GEARMAN_SERVER": "a"}) == ("b", "c:1")


# -- the choice of a server

THREE = [Address(host="a"), Address(host="b"), Address(host="c")]


def test_a_unique_goes_to_one_server_from_everywhere_and_only_a_lost_server_s_share_moves() -> None:
    here, there = Servers(THREE), Servers(THREE[::-1])
    uniques = [b"%d" % n for n in range(3000)]
    first = {unique: here.order(unique, 0.0)[0] for unique in uniques}
    assert first == {unique: there.order(unique, 0.0)[0] for unique in uniques}
    assert all(800 < count < 1200 for count in Counter(first.values()).values())
    here.backoff(THREE[0]).failed(0.0)
    for unique in uniques:
        now = here.order(unique, 0.001)
        assert now[-1] == THREE[0] and (first[unique] == THREE[0] or now[0] == first[unique])


def test_jobs_without_a_unique_go_round() -> None:
    servers = Servers(THREE)
    assert Counter(servers.order(b"", 0.0)[0] for _ in range(30)) == dict.fromkeys(THREE, 10)
    assert Servers([THREE[0], THREE[0]]).addresses == (THREE[0],)


def test_pauses_double_with_jitter_up_to_a_bound() -> None:
    backoff = Backoff(first=0.1, most=1.0)
    for most in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        backoff.failed(10.0)
        assert most / 2 <= backoff.until - 10.0 <= most
    backoff.worked()
    assert (backoff.failures, backoff.until) == (0, 0.0)
    for _ in range(2000):
        backoff.failed(0.0)
    assert backoff.until <= 1.0


def test_a_pause_is_longer_than_it_took_to_find_out() -> None:
    backoff = Backoff(first=0.1, most=1.0)
    backoff.failed(10.0, 30.0)
    assert 60 <= backoff.until - 10.0 <= 120


def test_a_silent_server_comes_last_until_it_works_or_fails() -> None:
    servers = Servers(THREE)
    servers.backoff(THREE[0]).fell_silent()
    servers.backoff(THREE[1]).failed(0.0, 1000.0)
    assert servers.order(b"", 1.0) == [THREE[2], THREE[1], THREE[0]]
    assert servers.known_first(1.0) == [THREE[2], THREE[0], THREE[1]]
    servers.backoff(THREE[0]).failed(0.0)
    assert servers.known_first(1.0) == [THREE[0], THREE[2], THREE[1]]
    servers.backoff(THREE[1]).fell_silent()
    servers.backoff(THREE[1]).worked()
    assert servers.known_first(1.0) == THREE


# -- replies to text commands


def test_listings_become_dataclasses() -> None:
    (function,) = replies.parse_status("a\\x09b c\t5\t2\t1\n.\n")
    assert (function.name, function.total, function.running, function.workers, function.queued) == (
        "a\tb c",
        5,
        2,
        1,
        3,
    )
    (tabs,) = replies.parse_status("with\ta tab\t0\t0\t0\n.\n")
    assert tabs.name == "with\ta tab"
    (priority,) = replies.parse_priority_status("f\t1\t2\t3\t4\n.\n")
    assert (priority.high, priority.normal, priority.low, priority.workers) == (1, 2, 3, 4)
    (job,) = replies.parse_show_jobs("H:x:1\t2\t0\t1\n.\n")
    assert (job.handle, job.retries, job.ignored, job.background) == ("H:x:1", 2, False, True)
    idle, busy = replies.parse_workers("31 127.0.0.1 - :\n32 ::1 me\\x20too : f g\n.\n")
    assert (idle.fd, idle.client_id, idle.functions) == (31, None, ())
    assert (busy.address, busy.client_id, busy.functions) == ("::1", "me too", ("f", "g"))
    assert replies.parse_uniques("u\n\n.\n") == ["u", ""]
    assert replies.parse_counters("jobs\t7\n.\n") == {"jobs": 7}
    assert replies.parse_ok("OK 1.2\r\n") == "1.2" and replies.parse_ok("OK\r\n") == ""


NO_NUMBERS = ["f\t²\t1\t1\n.\n", "f\t" + 5000 * "1" + "\t1\t1\n.\n"]


@pytest.mark.parametrize("reply", ["", "x", "f\t1\n.\n", "f\ta\tb\tc\n.\n", "f\t1\t1\t1\n", *NO_NUMBERS])
def test_a_listing_that_is_none_is_refused(reply: str) -> None:
    with pytest.raises(RemoteProtocolError):
        replies.parse_status(reply)
    with pytest.raises(RemoteProtocolError):
        replies.parse_workers(5000 * "1" + " 127.0.0.1 - :\n.\n")


def test_a_function_may_be_called_like_an_error() -> None:
    (function,) = replies.parse_status("ERR mail\t1\t0\t0\n.\n")
    assert function.name == "ERR mail"


@pytest.mark.parametrize(
    "error",
    [
        fastgear.ServerError("CODE", "text"),
        fastgear.QueueFull("QUEUE_ERROR", "full", function_name="f"),
        fastgear.ConnectionLost("gone", handles=["H:1"], unanswered=2),
        fastgear.JobException("raised", handle="H:1", remote_traceback="text"),
        fastgear.JobTimeout("late", handle="H:1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exceptions_can_be_pickled(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_refusals_are_errors_with_code_and_text() -> None:
    for parse in (replies.parse_status, replies.parse_ok):
        with pytest.raises(ServerError) as caught:
            parse("ERR UNKNOWN_COMMAND Unknown+server+command\r\n")
        assert (caught.value.code, caught.value.text) == ("UNKNOWN_COMMAND", "Unknown server command")
    with pytest.raises(RemoteProtocolError, match="neither OK nor ERR"):
        replies.parse_ok("HELLO\r\n")
    with pytest.raises(RemoteProtocolError, match="a line of workers"):
        replies.parse_workers("nonsense\n.\n")


# -- the functions of a worker


@pytest.mark.parametrize(
    ("name", "call", "timeout", "error"),
    [
        ("", print, None, ConfigError),
        ("x" * 513, print, None, ConfigError),
        ("a\0b", print, None, ConfigError),
        ("f", print, 0, ConfigError),
        ("f", print, -1.0, ConfigError),
        ("f", "print", None, TypeError),
        ("taken", print, None, ConfigError),
    ],
)
def test_a_function_that_cannot_be_announced_is_refused(
    name: str, call: object, timeout: float | None, error: type[Exception]
) -> None:
    registry = Registry()
    registry.add("taken", print, 0.0001)
    with pytest.raises(error):
        registry.add(name, call, timeout)  # type: ignore[arg-type]
    assert [(one.name, one.timeout_ms) for one in registry] == [("taken", 1)] and len(registry) == 1


# -- CPUs


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 8),
        ({"a/b/cpu.max": "max 100000"}, 8),
        ({"a/b/cpu.max": "150000 100000"}, 2),
        ({"a/cpu.max": "50000 100000", "a/b/cpu.max": "400000 100000"}, 1),
        ({"cpu.max": "300000 100000"}, 3),
        ({"a/b/cpu.max": "nonsense"}, 8),
    ],
)
def test_the_quota_of_a_control_group_bounds_the_cpus(
    files: dict[str, str], cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    (tmp_path / "membership").write_text("0::/a/b\n")
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text)
    assert usable_cpus(tmp_path / "cgroup", tmp_path / "membership") == cpus


def test_the_first_version_of_control_groups_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    (tmp_path / "membership").write_text("3:memory:/x\n2:cpu,cpuacct:/a\n")
    group = tmp_path / "cgroup" / "cpu,cpuacct" / "a"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("250000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cpus(tmp_path / "cgroup", tmp_path / "membership") == 3
    assert usable_cpus(tmp_path / "none", tmp_path / "none") == 8


# -- free-threaded Python


@pytest.mark.parametrize("enabled", [False, True])
def test_what_it_says_of_our_extensions_is_not_heard_where_nobody_asked(
    monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    said = "The global interpreter lock (GIL) has been enabled to load module '{}.wire', which has not declared that"
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: enabled, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expect_the_gil()
        with pytest.raises(RuntimeWarning):
            warnings.warn(said.format("other"), RuntimeWarning, stacklevel=1)
        if not enabled:
            warnings.warn(said.format("fastgear.protocol"), RuntimeWarning, stacklevel=1)
