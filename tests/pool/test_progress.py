# SPDX-License-Identifier: MIT
"""The line that progress=True shows: with tqdm and without, on a terminal and elsewhere, and how it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastgear
from fastgear import Executor, Pool
from pool.work import square

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no pool")


@pytest.fixture(params=["tqdm", "plain"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    kind: str = request.param
    return kind


@pytest.fixture
def pool(kind: str) -> Iterator[Pool]:
    with Pool(2, progress=True) as made:
        yield made


def last_line(text: str) -> str:
    assert text.endswith("\n"), text
    return re.split(r"[\r\n]", text.rstrip("\n"))[-1]


def shows(line: str, done: int, total: int | None) -> bool:
    ours = f"{done} of {total} tasks" if total is not None else f"{done} tasks"
    theirs = f"| {done}/{total} [" if total is not None else f"{done} tasks ["
    return ours in line or theirs in line


def test_a_map_shows_all_of_it_at_its_end(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    assert pool.map(square, range(500)) == [i * i for i in range(500)]
    text = capsys.readouterr().err
    assert shows(last_line(text), 500, 500) and text.count("\n") == 1
    pool.map_async(square, range(300)).get(20)
    assert shows(last_line(capsys.readouterr().err), 300, 300)


def test_lazy_maps_show_the_total_where_it_is_known(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(list(pool.imap(square, range(100)))) == 100
    assert shows(last_line(capsys.readouterr().err), 100, 100)
    assert len(list(pool.imap_unordered(square, (i for i in range(100))))) == 100
    assert shows(last_line(capsys.readouterr().err), 100, None)


def test_the_line_ends_with_an_error(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.starmap(divmod, [(1, i - 5) for i in range(10)])
    assert shows(last_line(capsys.readouterr().err), 10, 10)
    with pytest.raises(TypeError):
        list(pool.imap(square, [1, 2, "x", 4]))
    last_line(capsys.readouterr().err)


def test_the_line_ends_when_the_iterator_is_dropped(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    run = pool.imap(square, range(10_000))
    next(run)
    del run
    assert last_line(capsys.readouterr().err)
    pool.imap(square, (i for i in range(10)))
    last_line(capsys.readouterr().err)
    assert pool.map(square, [3]) == [9]


def test_the_executor_and_the_one_line_map_have_it_too(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Executor(2) as executor:
        assert sum(executor.map(square, range(100), progress=True)) == 328350
        assert shows(last_line(capsys.readouterr().err), 100, 100)
        run: Any = executor.map(square, range(100), progress=True)
        next(run)
        run.close()
        last_line(capsys.readouterr().err)
    fastgear.map(square, range(50), workers=2, progress=True)
    assert shows(last_line(capsys.readouterr().err), 50, 50)


def test_an_empty_map_has_nothing_to_wait_for(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    assert pool.map(square, []) == []
    assert "\n" in capsys.readouterr().err


def test_it_starts_no_thread(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = """
import sys, threading, time, fastgear
fastgear.map(time.sleep, [0.01] * 20, workers=2, progress=True)
print([thread.name for thread in threading.enumerate()])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd="/")
    assert done.stdout == "['MainThread']\n"


SCRIPT = """
import sys, time
if sys.argv[1] == "plain":
    sys.modules["tqdm.auto"] = None
import fastgear
if __name__ == "__main__":
    print("ready", flush=True)
    fastgear.map(time.sleep, [0.02] * int(sys.argv[2]), workers=2, progress=True)
"""


def on_a_terminal(kind: str, tasks: int, folder: Path, interrupt_after_s: float = 0.0) -> tuple[int, str]:
    """Exit code, and what the script wrote to its terminal; Ctrl-C comes so long after the first of it."""
    (folder / "script.py").write_text(SCRIPT)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "script.py", kind, str(tasks)]
    environment = {**os.environ, "PYTHON_COLORS": "0"}  # tracebacks have them on terminals, since Python 3.13
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True
    ) as process:
        os.close(theirs)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        interrupt_at = float("inf")
        text = b""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if time.monotonic() > interrupt_at:
                process.send_signal(signal.SIGINT)
                interrupt_at = float("inf")
            if select.select([ours], [], [], 0.05)[0]:
                try:
                    more = os.read(ours, 10_000)
                except OSError:  # the last one has closed it
                    break
                if interrupt_after_s and not text:
                    interrupt_at = time.monotonic() + interrupt_after_s
                text += more
        os.close(ours)
        return process.wait(20), text.decode().replace("\r\n", "\n")


def test_on_a_terminal_it_is_rewritten(kind: str, tmp_path: Path) -> None:
    code, text = on_a_terminal(kind, 60, tmp_path)
    assert code == 0 and text.count("\r") > 2 and text.count("\n") == 1
    assert shows(last_line(text), 60, 60)


def test_after_ctrl_c_the_traceback_has_lines_of_its_own(kind: str, tmp_path: Path) -> None:
    code, text = on_a_terminal(kind, 2000, tmp_path, interrupt_after_s=0.5)
    assert code in (1, -signal.SIGINT) and text.endswith("KeyboardInterrupt\n")
    assert "\nTraceback (most recent call last)" in text
    assert "/2000" in text or "of 2000" in text
