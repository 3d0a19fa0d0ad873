# SPDX-License-Identifier: MIT
"""The parts of a service, apart from any process: systemd's messages, the watchdog's condition, the log's lines."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from fastgear.cli.serving import Serving
from fastgear.service.log import Log, python_level
from fastgear.service.pid_file import PidFile
from fastgear.service.systemd import Systemd


def test_what_systemd_means_for_another_process_is_not_taken() -> None:
    environment = {
        "NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1", "LISTEN_PID": "1", "LISTEN_FDS": "2",
        "LISTEN_FDNAMES": "a:b", "OTHER": "stays",
    }  # fmt: skip
    systemd = Systemd(environment)
    assert (systemd.watchdog_s, systemd.sockets, environment) == (0.0, (), {"OTHER": "stays"})
    assert Systemd({"WATCHDOG_USEC": "3000000"}).watchdog_s == 3.0
    assert Systemd({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_s == 3.0
    assert Systemd({"WATCHDOG_USEC": "often"}).watchdog_s == 0.0


@pytest.mark.parametrize("address", ["/no/such/socket", "@nobody-there", "", "vsock:2:1"])
def test_a_manager_that_does_not_listen_costs_nothing(address: str) -> None:
    Systemd({"NOTIFY_SOCKET": address}).ready("x")


class Told(Systemd):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__({})
        self.told: list[str] = []

    def _notify(self, *lines: str) -> None:
        self.told += lines


class Answering:
    def __init__(self, answers: bool) -> None:
        self.answers = answers

    def command(self, line: str) -> str:
        if not self.answers:
            raise RuntimeError("this server is not running; start it first")
        return "OK 1\n"


@pytest.mark.parametrize(("answers", "told"), [(True, ["WATCHDOG=1"]), (False, [])])
def test_the_watchdog_hears_nothing_of_a_server_that_has_ended(answers: bool, told: list[str]) -> None:
    systemd, server, log = Told(), Answering(answers), Log("x", file="none", to_syslog=False, verbose="ERROR")
    serving = Serving(server, None, systemd, log, "status")  # type: ignore[arg-type]
    serving._prove()
    assert systemd.told == told


def test_levels_are_gearmand_s_in_their_order() -> None:
    names = ("FATAL", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")
    levels = [python_level(name) for name in names]
    assert levels == sorted(levels, reverse=True)
    for name in ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"):
        assert python_level(name) == getattr(logging, name)


def test_a_log_takes_lines_from_open_to_close_only(tmp_path: Path) -> None:
    root, before = logging.getLogger(), logging.getLogger().level
    log = Log("x", file=str(tmp_path / "log"), to_syslog=False, verbose="WARNING")
    try:
        root.error("too early")
        log.open()
        root.error("heard %d\udcff", 1)
        root.info("not important")
        log.last_words("the end")
        log.close()
        root.error("too late")
    finally:
        log.close()
        root.setLevel(before)
    lines = [line.split(" ] ")[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert lines == ["heard 1\\udcff", "the end"]


def test_a_pid_file_that_was_never_published_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    (tmp_path / f"pid.{os.getpid()}").write_text("of one that was killed")
    with PidFile(str(path)):
        assert not path.exists()
    assert not list(tmp_path.iterdir())
    with PidFile(""), pytest.raises(OSError, match="the pid file /no/such/pid cannot be written: No such file"):
        PidFile("/no/such/pid").__enter__()


def test_a_pid_file_that_cannot_be_put_into_place_says_so(tmp_path: Path) -> None:
    (tmp_path / "pid").mkdir()
    with PidFile(str(tmp_path / "pid")) as file, pytest.raises(OSError, match="cannot be written: Is a directory"):
        file.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["pid"]


def test_serving_is_told_by_signals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that ends nothing is handled, and the manager hears about a reload from its begin to its end."""
    numbers: list[Any] = [1, 15]
    monkeypatch.setattr("signal.sigwait", lambda signals: numbers.pop(0))
    systemd = Told()
    log = Log("x", file="none", to_syslog=False, verbose="ERROR")
    Serving(Answering(True), None, systemd, log, "status").run()  # type: ignore[arg-type]
    heads = [line.partition("=")[0] for line in systemd.told]
    assert heads == [
        *("READY", "STATUS", "MAINPID"),
        *("RELOADING", "MONOTONIC_USEC"),
        *("READY", "STATUS", "MAINPID"),
        *("STOPPING", "STATUS"),
    ]
