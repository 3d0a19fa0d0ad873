# SPDX-License-Identifier: MIT
"""``fastgear store`` and ``fastgear dead``: what they print, what they change, and their exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from storage.conformance import ALL_BYTES, job, jobs

from fastgear import AdminClient, Client, Server, ServerConfig
from fastgear.cli.main import main
from fastgear.storage.sqlite import SqliteStore
from fastgear.storage.store import Batch, DeadJob, StoredJob

Output = pytest.CaptureFixture[str]
ODD = StoredJob(5, ALL_BYTES, ALL_BYTES, ALL_BYTES, ALL_BYTES, 0, 2**62, 3, 2**62)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def make(path: Path) -> None:
    """Jobs 1 to 4 and an odd one wait, 6 and 7 are dead, 8 was."""
    with SqliteStore(path) as store:
        store.remember_prefix("H:here:")
        store.append(Batch([*(job(number) for number in (1, 2, 3, 4, 6, 7, 8)), ODD], ended=[8]))
        store.append(Batch(attempts=[(5, 6)], dead=[(6, "five workers died", 10**18), (7, "tiresome\n", 2 * 10**18)]))


def content(path: Path) -> tuple[list[StoredJob], list[DeadJob], int, str]:
    with SqliteStore(path) as store:
        return jobs(store), list(store.dead()), store.last_number, store.prefix


def fastgear(*words: object) -> int:
    return main([str(word) for word in words])


# -- store


def test_check_says_that_all_is_well_beside_a_server_too(path: Path, capsys: Output) -> None:
    make(path)
    with SqliteStore(path):
        assert fastgear("store", "check", path) == 0
    assert capsys.readouterr().out == f"{path} is well: 5 jobs wait, 2 are dead\n"


def test_check_says_what_is_wrong(path: Path, capsys: Output) -> None:
    make(path)
    with open(path, "r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096)
    assert fastgear("store", "check", path) == 1
    said = capsys.readouterr()
    assert "SQLite: " in said.out and f"fastgear store: {path} is damaged: " in said.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("store", 2, "fastgear store: the following arguments are required: ACTION; see fastgear store --help"),
        ("store look jobs.db", 2, "invalid choice: 'look'"),
        ("store check", 2, "the following arguments are required: FILE"),
        ("store check missing.db", 1, "missing.db: No such file or directory"),
        ("store check .", 1, "is a directory; a store is a file"),
        ("store check text", 1, "text is no SQLite database"),
        ("store export missing.db", 1, "missing.db: No such file or directory"),
        ("store export jobs.db text", 1, "text: File exists"),
        ("store import jobs.db missing", 1, "missing: No such file or directory"),
        ("store import jobs.db text", 1, "fastgear store: line 1 is no JSON object"),
        ("store import no/such/jobs.db text", 1, "no/such/jobs.db-lock cannot be opened: No such file"),
        ("dead list", 2, "the following arguments are required: --store"),
        ("dead list --store missing.db", 1, "missing.db: No such file or directory"),
        ("dead list --store jobs.db --limit -1", 2, "'-1' is no number of jobs"),
        ("dead drop --store jobs.db", 2, "fastgear dead: name jobs, or say --all or --older-than"),
        ("dead drop --store jobs.db 6 --all", 2, "fastgear dead: name jobs, or say --all or --older-than"),
        ("dead retry --store jobs.db", 2, "fastgear dead: name jobs, or say --all"),
        (
            "dead drop --store jobs.db H:there:6",
            2,
            "'H:there:6' is no handle of this store's jobs, nor a number; those",
        ),
        ("dead drop --store jobs.db 1", 1, "fastgear dead: no dead job has the number 1"),
        ("dead retry --store jobs.db 1 6 99", 1, "fastgear dead: no dead job has the number 1, 99"),
        ("dead retry --store missing.db --all", 1, "missing.db: No such file or directory"),
    ],
)
def test_errors_are_one_sentence(
    words: str, code: int, message: str, path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    make(path)
    Path("text").write_text("no database " * 1000)
    assert fastgear(*words.split()) == code
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1
    assert not Path("missing.db").exists()


def test_an_export_becomes_the_same_store_again(path: Path, tmp_path: Path, capsys: Output) -> None:
    make(path)
    dump, other = tmp_path / "dump.json", tmp_path / "other.db"
    with SqliteStore(path):
        assert fastgear("store", "export", path, dump) == 0
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600
    assert fastgear("store", "import", other, dump) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "7 jobs were imported\n")
    assert content(other) == content(path)


def test_export_and_import_work_by_pipes(
    path: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path)
    assert fastgear("store", "export", path) == 0
    lines = capsys.readouterr().out
    assert [json.loads(line).get("number") for line in lines.splitlines()] == [None, 1, 2, 3, 4, 5, 6, 7, None]
    assert json.loads(lines.splitlines()[1])["workload"] == "aGVsbG8="
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert fastgear("store", "import", tmp_path / "other.db") == 0
    assert content(tmp_path / "other.db") == content(path)


def test_numbers_that_are_there_are_refused_or_replaced(path: Path, tmp_path: Path, capsys: Output) -> None:
    make(path)
    dump, other = tmp_path / "dump.json", tmp_path / "other.db"
    fastgear("store", "export", path, dump)
    with SqliteStore(other) as store:
        store.remember_prefix("H:other:")
        store.append(Batch([job(2, b"mine"), job(5), job(77)], dead=[(2, "why", 1)]))
    before = content(other)
    assert fastgear("store", "import", other, dump) == 1
    assert f"job 2 is in {other} already; nothing was imported" in capsys.readouterr().err
    assert content(other) == before
    assert fastgear("store", "import", "--replace", other, dump) == 0
    waiting, dead, last, _ = content(path)
    assert content(other) == ([*waiting, job(77)], dead, max(last, 77), "H:other:")


def test_a_line_that_makes_no_sense_imports_nothing(path: Path, tmp_path: Path, capsys: Output) -> None:
    make(path)
    fastgear("store", "export", path)
    lines = capsys.readouterr().out.splitlines()
    whole = json.loads(lines[1])
    wrongs = [
        ({"number": 0}, "a number is above 0"),
        ({"number": 2**63}, "number is no number from 0"),
        ({"number": True}, "number is no number from 0"),
        ({"priority": 3}, "a priority is 0, 1 or 2"),
        ({"workload": "%"}, "workload is missing, or not in base64"),
        ({"function": None}, "function is missing, or not in base64"),
        ({"reason": "why"}, "does not say why and when"),
        ({"reason": "\ud800", "died_ns": 1}, "does not say why and when"),
        ({"number": 2**62 + 1}, "a number is at most 2^62"),
    ]
    for change, message in wrongs:
        dump, other = tmp_path / "dump.json", tmp_path / "other.db"
        dump.write_text("\n".join([*lines[:4], json.dumps({**whole, **change})]))
        assert fastgear("store", "import", other, dump) == 1
        said = capsys.readouterr().err
        assert said.startswith("fastgear store: line 5") and message in said
        assert content(other) == ([], [], 0, "")


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda lines: lines[:-1], "the export is not whole"),
        (lambda lines: lines[:1], "the export is not whole"),
        (lambda lines: [*lines[:3], *lines[4:]], "speaks of 7 jobs, but there are 6"),
        (lambda lines: [*lines[:4], lines[3], *lines[5:]], "two jobs have the same number"),
        (lambda lines: ["[" * 100_000], "line 1 is no JSON object"),
        (lambda lines: [lines[0].replace("H:here:", "H:\\n"), *lines[1:]], "line 1 is not the beginning"),
        (lambda lines: [lines[0].replace("H:here:", "H:\\ud800"), *lines[1:]], "line 1 is not the beginning"),
        (
            lambda lines: [lines[0].replace('"last_number": 8', f'"last_number": {2**63 - 1}'), *lines[1:]],
            "line 1 is not",
        ),
    ],
)
def test_an_export_that_is_not_whole_imports_nothing(
    cut: Callable[[list[str]], list[str]], message: str, path: Path, tmp_path: Path, capsys: Output
) -> None:
    make(path)
    fastgear("store", "export", path)
    dump, other = tmp_path / "dump.json", tmp_path / "other.db"
    dump.write_text("\n".join(cut(capsys.readouterr().out.splitlines())))
    assert fastgear("store", "import", other, dump) == 1
    assert message in capsys.readouterr().err
    assert content(other) == ([], [], 0, "")


@pytest.mark.parametrize("pages", [[20], [20, 21, 90], list(range(30, 60)), [400]])
def test_what_can_be_read_of_a_damaged_store_is_salvaged(
    pages: list[int], path: Path, tmp_path: Path, capsys: Output
) -> None:
    """With a large gap between two numbers, and workloads that take several pages."""
    given = [job(number, b"%d " % number * 60) for number in [*range(1, 2001), *range(10**15, 10**15 + 2000)]]
    large = [job(10**16 + number, b"x" * 20_000) for number in range(20)]
    with SqliteStore(path) as store:
        store.append(Batch([*given, *large], dead=[(7, "why", 1)]))
    with open(path, "r+b") as file:
        for page in pages:
            file.seek(4096 * page)
            file.write(b"\xff" * 4096)
    dump, other = tmp_path / "dump.json", tmp_path / "other.db"
    assert fastgear("store", "export", path, dump) == 1
    said = capsys.readouterr().err
    assert "is damaged" in said and "store export --salvage" in said and not dump.exists()
    assert fastgear("store", "export", "--salvage", path, dump) == 1
    assert "cannot be read; the rest was exported" in capsys.readouterr().err
    assert fastgear("store", "import", other, dump) == 0
    waiting, dead, _, _ = content(other)
    assert len(dead) == 1 and set(waiting) < {*given, *large}
    assert len(given) + len(large) - 100 * len(pages) < len(waiting)


def test_salvage_of_a_store_that_is_well_is_an_export(path: Path, capsys: Output) -> None:
    make(path)
    assert fastgear("store", "export", path) == fastgear("store", "export", "--salvage", path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


def test_ctrl_c_imports_nothing(path: Path, tmp_path: Path) -> None:
    make(path)
    command = [sys.executable, "-m", "fastgear", "store", "import", str(tmp_path / "other.db")]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin is not None
    process.stdin.write(b'{"fastgear_store": 1, "prefix": "H:x:", "last_number": 7}\n')
    process.stdin.flush()
    while not os.path.exists(tmp_path / "other.db-wal"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, b"interrupted: nothing was imported\n")
    assert content(tmp_path / "other.db") == ([], [], 0, "")


# -- dead


def test_list_shows_why_beside_a_server_too(path: Path, capsys: Output) -> None:
    make(path)
    with SqliteStore(path):
        assert fastgear("dead", "list", "--store", path) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["HANDLE", "FUNCTION", "ATTEMPTS", "DIED", "REASON"]
    assert first.split()[:3] == ["H:here:6", "reverse", "5"] and first.endswith("five workers died")
    assert second.startswith("H:here:7") and second.endswith("tiresome\\n")


def test_list_is_json_too(path: Path, capsys: Output) -> None:
    make(path)
    assert fastgear("dead", "list", "--store", path, "--json", "--limit", 1) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["handle"], row["number"], row["priority"], row["attempts"]) == ("H:here:6", 6, "normal", 5)
    assert (row["function"], row["unique"], row["workload_bytes"]) == ("reverse", "", 5)
    assert row["died"].startswith("2001-09-0")


def test_drop_forgets_some_or_all(path: Path) -> None:
    make(path)
    with SqliteStore(path) as store:
        assert fastgear("dead", "drop", "--store", path, "H:here:7") == 0
        assert [one.job.number for one in store.dead()] == [6]
        assert fastgear("dead", "drop", "--store", path, "--all") == 0
        assert list(store.dead()) == []
    assert len(content(path)[0]) == 5


def test_drop_forgets_those_that_died_long_ago(path: Path, capsys: Output) -> None:
    make(path)
    now = time.time_ns()
    with SqliteStore(path) as store:
        store.append(Batch(dead=[(1, "new", now - 3 * 86_400 * 10**9)]))
        assert fastgear("dead", "drop", "--store", path, "--older-than", "3.5") == 0
        assert [one.job.number for one in store.dead()] == [1, 7], "6 was old, and 7 is of a day to come"
        assert fastgear("dead", "drop", "--store", path, "--older-than", "2") == 0
        assert [one.job.number for one in store.dead()] == [7]
    assert fastgear("dead", "drop", "--store", path, "--older-than", "-1") == 2
    assert "'-1' is no number of days" in capsys.readouterr().err


def test_retry_puts_jobs_back_where_no_server_has_the_store(path: Path, capsys: Output) -> None:
    make(path)
    assert fastgear("dead", "retry", "--store", path, "6", "H:here:7") == 0
    assert capsys.readouterr().out == "H:here:6\nH:here:7\n"
    waiting, dead, _, _ = content(path)
    assert dead == [] and waiting[-2:] == [job(6), job(7)]


def test_retry_submits_jobs_anew_to_the_server_that_has_the_store(path: Path, capsys: Output) -> None:
    make(path)
    with Server("127.0.0.1:0") as server, SqliteStore(path) as store:
        assert fastgear("dead", "retry", "--store", path, "--all") == 2
        assert f"in use by process {os.getpid()}" in capsys.readouterr().err
        assert fastgear("dead", "retry", "--store", path, "--server", server.address, "6", "99") == 1
        said = capsys.readouterr()
        assert "no dead job has the number 99" in said.err
        assert [one.job.number for one in store.dead()] == [7]
        with AdminClient(server.address) as admin:
            assert [one.handle for one in admin.jobs()] == said.out.splitlines()
        (function,) = server.snapshot().functions
        assert (function.name, function.queued) == ("reverse", 1)


def test_a_dead_job_whose_unique_waits_already_stays_dead(path: Path, capsys: Output) -> None:
    """Or it would be merged with that one, and its own workload be gone."""
    with SqliteStore(path) as store:
        store.append(Batch([job(6, b"old", unique=b"u")], dead=[(6, "why", 1)]))
    with Server("127.0.0.1:0", config=ServerConfig(store=str(path))) as server:
        with Client(server.address) as client:
            handle = client.submit_background("reverse", b"new", unique="u")
        assert fastgear("dead", "retry", "--store", path, "--server", server.address, "6") == 1
        assert f"job 6 stays dead: {handle}, with the same function and unique" in capsys.readouterr().err
    assert [one.job.workload for one in content(path)[1]] == [b"old"]


def test_a_server_that_cannot_be_reached_costs_no_dead_job(path: Path, capsys: Output) -> None:
    make(path)
    with SqliteStore(path) as store:
        assert fastgear("dead", "retry", "--store", path, "--server", "127.0.0.1:1", "--all") == 3
        assert [one.job.number for one in store.dead()] == [6, 7]
    assert capsys.readouterr().out == ""
