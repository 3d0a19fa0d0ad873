# SPDX-License-Identifier: MIT
"""What is SQLite's own: whose file it is, what happens to it, how large it gets, and who may look at it meanwhile."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from storage.conformance import job, jobs

from fastgear.errors import ConfigError, StoreError, StoreFull, StoreInUse, StoreLost, StoreTrouble
from fastgear.storage import schema, view
from fastgear.storage.lock import OwnerLock
from fastgear.storage.reserve import Reserve
from fastgear.storage.sqlite import SqliteStore
from fastgear.storage.store import Batch
from fastgear.storage.trouble import store_error
from fastgear.storage.view import SqliteView

Open = Callable[..., SqliteStore]
MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def open_store(path: Path) -> Iterator[Open]:
    """Open the store at `path`; closed at the end whatever happens."""
    opened: list[SqliteStore] = []

    def open_one(**options: object) -> SqliteStore:
        opened.append(SqliteStore(path, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def sql(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """What the last statement says."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        found: list[tuple[object, ...]] = []
        for statement in statements:
            found = db.execute(statement).fetchall()
        return found
    finally:
        db.close()


# -- whose file it is


def test_a_new_file_is_for_its_user_only_and_says_what_it_is(open_store: Open, path: Path) -> None:
    store = open_store()
    store.append(Batch([job(1)]))
    for name in (path, f"{path}-wal", f"{path}-shm", f"{path}-lock"):
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o600, name
    store.close()
    assert sorted(one.name for one in path.parent.iterdir()) == ["jobs.db", "jobs.db-lock"]
    assert sql(path, "PRAGMA application_id") == [(schema.APPLICATION_ID,)]
    assert sql(path, "PRAGMA auto_vacuum") == [(2,)]


def test_an_empty_file_is_a_new_store(open_store: Open, path: Path) -> None:
    path.touch()
    assert open_store().last_number == 0


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (
            ["CREATE TABLE users (name)"],
            "no store of fastgear, nor gearmand's with gearman_queue: its tables are users",
        ),
        (["PRAGMA user_version = 3"], "another program has marked it"),
        (["PRAGMA application_id = 252006675"], "another program has marked it"),
        (["CREATE TABLE gearman_queue (x)", "CREATE TABLE jobs (x)"], "its tables are gearman_queue, jobs"),
        (
            ["CREATE TABLE gearman_queue (data)"],
            "gearman_queue is no queue of gearmand: it has no column function_name",
        ),
    ],
)
def test_another_programs_file_is_refused_and_left_alone(
    statements: list[str], message: str, open_store: Open, path: Path
) -> None:
    sql(path, *statements)
    before = sql(path, "SELECT name, sql FROM sqlite_master")
    with pytest.raises(StoreError, match=message):
        open_store()
    assert sql(path, "SELECT name, sql FROM sqlite_master") == before
    assert SqliteStore(path.parent / "other.db").close() is None, "and nothing is still locked"


def test_a_file_that_is_no_database_is_refused(open_store: Open, path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreError, match="no SQLite database"):
        open_store()
    assert path.read_bytes() == b"no database at all" * 1000


@pytest.mark.parametrize("what", ["a directory", "no regular file"])
def test_what_is_no_file_is_refused_and_nothing_is_made(what: str, open_store: Open, path: Path) -> None:
    path.mkdir() if what == "a directory" else os.mkfifo(path)
    with pytest.raises(StoreError, match=rf"jobs\.db is {what}; a store is a file"):
        open_store()
    assert list(path.parent.iterdir()) == [path]


def test_a_newer_version_is_refused(open_store: Open, path: Path) -> None:
    open_store().close()
    sql(path, "PRAGMA user_version = 99")
    for opening in (open_store, lambda: SqliteView(path)):
        with pytest.raises(StoreError, match=r"written by a newer fastgear \(version 99"):
            opening()


def test_an_older_version_is_brought_up_to_date(open_store: Open, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store()
    store.append(Batch([job(1), job(2)]))
    store.close()
    second = [*schema.MIGRATIONS, lambda db: db.execute("ALTER TABLE servers ADD COLUMN note TEXT")]
    monkeypatch.setattr("fastgear.storage.schema.MIGRATIONS", second)
    monkeypatch.setattr("fastgear.storage.sqlite.MIGRATIONS", second)
    monkeypatch.setattr("fastgear.storage.view.MIGRATIONS", second)
    with pytest.raises(StoreError, match="older fastgear"):
        SqliteView(path)
    store = open_store()
    assert jobs(store) == [job(1), job(2)] and store.last_number == 2
    store.close()
    assert sql(path, "PRAGMA user_version") == [(2,)]
    assert sql(path, "SELECT note FROM servers") == [(None,)]


def test_a_migration_that_fails_changes_nothing(open_store: Open, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store().close()

    def fails(db: sqlite3.Connection) -> None:
        db.execute("DROP TABLE dead")
        raise OSError("the machine burns")

    monkeypatch.setattr("fastgear.storage.schema.MIGRATIONS", [*schema.MIGRATIONS, fails])
    monkeypatch.setattr("fastgear.storage.sqlite.MIGRATIONS", [*schema.MIGRATIONS, fails])
    with pytest.raises(OSError, match="burns"):
        open_store()
    monkeypatch.undo()
    assert list(open_store().dead()) == []


def test_durability_has_four_words(path: Path) -> None:
    with pytest.raises(ConfigError, match="durability: 'some' is none of full, normal, on-shutdown, off"):
        SqliteStore(path, durability="some")


# -- one process at a time

HOLDER = """
import os, sys, time
from fastgear.storage.sqlite import SqliteStore
store = SqliteStore(sys.argv[1])
forks = "fork" in sys.argv
if forks and os.fork() == 0:
    print("holds", flush=True)
    time.sleep(60)
    os._exit(0)
if not forks:
    print("holds", flush=True)
sys.stdin.read()
"""


def hold(path: Path, *words: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path), *words], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None and process.stdout.readline() == "holds\n"
    return process


def let_go(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_second_process_is_told_which_one_has_the_store(open_store: Open, path: Path) -> None:
    holder = hold(path)
    try:
        with pytest.raises(StoreInUse, match=rf"jobs\.db is in use by process {holder.pid};") as caught:
            open_store()
        assert caught.value.pid == holder.pid
    finally:
        let_go(holder)
    assert open_store().last_number == 0, "the lock goes with the process, however that ends"


def test_so_is_this_one_and_by_another_name_too(open_store: Open, path: Path) -> None:
    open_store()
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(StoreInUse, match=f"process {os.getpid()};"):
        SqliteStore(link)


def test_children_do_not_hold_the_store_of_a_server_that_was_killed(open_store: Open, path: Path) -> None:
    holder = hold(path, "fork")
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    try:
        holder.kill()
        holder.wait()
        assert len(children) == 1 and open_store().last_number == 0
    finally:
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        holder.communicate()


def test_a_lock_file_that_is_removed_does_not_let_two_in(open_store: Open, path: Path) -> None:
    open_store().close()
    os.unlink(f"{path}-lock")
    open_store()
    with pytest.raises(StoreInUse):
        open_store()


def test_a_store_that_nobody_has_any_more_does_not_keep_the_next_one_out(tmp_path: Path) -> None:
    """One that could not be closed is still open; a server that is started again in the same process could never have it."""
    lock = OwnerLock(f"{tmp_path}/jobs.db")
    del lock
    gc.collect()
    OwnerLock(f"{tmp_path}/jobs.db").release()


# -- trouble; what takes faults below SQLite is in test_faults.py


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_a_file_that_is_not_there_any_more_is_noticed(suffix: str, what: str, open_store: Open, path: Path) -> None:
    store = open_store()
    store.append(Batch([job(1)]))
    os.rename(f"{path}{suffix}", f"{path}-away")
    if what == "replaced":
        Path(f"{path}{suffix}").write_bytes(Path(f"{path}-away").read_bytes())
    for _ in range(2):
        with pytest.raises(StoreLost, match="deleted or replaced"):
            store.append(Batch([job(2)]))


def test_a_file_that_is_replaced_during_trouble_is_noticed(
    open_store: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "_WAIT_S", 0.01)
    store = open_store()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreTrouble):
        store.append(Batch([job(1)]))
    other.close()
    os.rename(path, f"{path}-away")
    with pytest.raises(StoreLost, match="deleted or replaced"):
        store.append(Batch([job(1)]))


def test_a_folder_that_is_closed_for_a_while_is_trouble_that_passes(
    open_store: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    look = os.stat

    def refuse(name: object, *args: object, **more: object) -> os.stat_result:
        if str(name).startswith(str(path)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return look(name, *args, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)
        for _ in range(2):
            with pytest.raises(StoreTrouble, match=r"jobs\.db cannot be looked at: Permission denied"):
                store.append(Batch([job(1)]))
    store.append(Batch([job(1)]))
    assert store.count() == (1, 0)


def test_a_file_that_is_locked_works_again_later(open_store: Open, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "_WAIT_S", 0.01)
    store = open_store()
    store.append(Batch([job(1)]))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    batch = Batch([job(2)], ended=[1])
    for _ in range(2):
        with pytest.raises(StoreTrouble, match=r"jobs\.db is locked by another process"):
            store.append(batch)
    other.close()
    store.append(batch)
    assert jobs(store) == [job(2)]


def test_a_damaged_page_is_final_and_named_by_check(open_store: Open, path: Path) -> None:
    store = open_store()
    store.append(Batch([job(number, b"x" * 500) for number in range(1, 2000)]))
    assert store.check() == []
    store.close()
    with open(path, "r+b") as file:
        for page in range(20, 40):
            file.seek(page * 4096)
            file.write(b"\xff" * 100)
    store = open_store()
    assert any("SQLite:" in line for line in store.check())
    for _ in range(2):
        with pytest.raises(StoreLost, match="is damaged; see `fastgear store check`"):
            jobs(store)
    with pytest.raises(StoreLost):
        store.append(Batch([job(1)]))


def test_check_finds_rows_that_make_no_sense(open_store: Open, path: Path) -> None:
    store = open_store()
    store.append(Batch([job(1), job(2), job(3)], dead=[(3, "why", 1)]))
    store.close()
    sql(path, "UPDATE jobs SET priority = 7 WHERE number = 1", "UPDATE jobs SET number = 3 WHERE number = 2")
    assert open_store().check() == ["jobs: the row of number 1 makes no sense", "number 3 is both waiting and dead"]


def test_a_mistake_of_the_caller_applies_nothing(open_store: Open) -> None:
    store = open_store()
    with pytest.raises(sqlite3.IntegrityError):
        store.append(Batch([job(1), job(2, priority=None)]))
    with pytest.raises(TypeError):
        store.append(Batch([job(1), job(2, workload=None)]))
    with pytest.raises(OverflowError):
        store.append(Batch([job(1), job(2**63)]))
    store.append(Batch([job(3)]))
    assert jobs(store) == [job(3)]


def with_code(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code  # as Python 3.11 and later have it
    error.sqlite_errorname = "SQLITE_SOMETHING"
    return error


FSYNC, DIR_FSYNC, WRITE, READ, DATA, MOVED = (10 | n << 8 for n in (4, 5, 3, 1, 32, 0))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (with_code(FSYNC), StoreLost),
        (with_code(DIR_FSYNC), StoreLost),
        (with_code(DATA), StoreLost),
        (with_code(8 | 4 << 8), StoreLost),  # the file was moved away
        (with_code(1), StoreLost),  # no such table
        (with_code(WRITE), StoreTrouble),
        (with_code(READ), StoreTrouble),
        (with_code(13), StoreFull),
        # Python 3.10 has no codes: an I/O error of an unknown kind may have been an fsync
        (sqlite3.OperationalError("disk I/O error"), StoreLost),
        (sqlite3.OperationalError("database or disk is full"), StoreFull),
        (sqlite3.OperationalError("attempt to write a readonly database"), StoreTrouble),
        (sqlite3.OperationalError("database is locked"), StoreTrouble),
        (sqlite3.OperationalError("unable to open database file"), StoreTrouble),
        (sqlite3.DatabaseError("database disk image is malformed"), StoreLost),
        (sqlite3.DatabaseError("file is not a database"), StoreLost),
    ],
)
def test_each_error_is_passing_or_final(error: sqlite3.Error, kind: type[StoreError]) -> None:
    assert type(store_error("jobs.db", error)) is kind
    assert str(store_error("jobs.db", error)).startswith("jobs.db")


def test_a_closed_store_says_so(open_store: Open) -> None:
    store = open_store()
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.append(Batch([job(1)]))


# -- how large it gets, and how fast it is


def sizes(path: Path) -> int:
    return sum(os.path.getsize(f"{path}{suffix}") for suffix in ("", "-wal"))


def test_the_file_stays_small_however_many_jobs_pass_through(open_store: Open, path: Path) -> None:
    store = open_store(durability="off")
    largest = 0
    for start in range(1, 200_001, 1000):
        new = range(start, start + 1000)
        store.append(Batch([job(number, b"x" * 100) for number in new], ended=list(range(start - 1000, start))))
        largest = max(largest, sizes(path))
    assert largest < 20 * MIB, "the log is 16"
    store.close()
    assert sizes_after_close(path) < 2 * MIB


def sizes_after_close(path: Path) -> int:
    assert not os.path.exists(f"{path}-wal")
    return os.path.getsize(path)


def test_the_file_shrinks_again_after_a_flood(open_store: Open, path: Path) -> None:
    store = open_store(durability="off")
    for start in range(1, 20_001, 1000):
        store.append(Batch([job(number, b"x" * 4000) for number in range(start, start + 1000)]))
    flood = sizes(path)
    assert flood > 80 * MIB
    store.append(Batch(ended=list(range(1, 20_001))))
    number = 30_000
    while sizes(path) > flood / 2:  # a little each time, and less on a busy machine
        number += 1
        assert number < 36_000
        store.append(Batch([job(number, b"x" * 200_000)], ended=[number - 1]))
    assert [one.number for one in jobs(store)] == [number] and store.check() == []


def test_a_full_disk_is_refused_before_ends_find_no_room(
    open_store: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    store.append(Batch([job(number) for number in range(1, 1001)]))
    reserve = os.stat(f"{path}-reserve")
    assert 2 * MIB <= reserve.st_size <= 4 * MIB and reserve.st_blocks * 512 >= reserve.st_size
    monkeypatch.setattr(Reserve, "hold", lambda _, size: False)
    with pytest.raises(StoreFull, match="the disk is full"):
        store.append(Batch([job(2000)], ended=[1]))
    assert "the disk is full" in store.health()
    store.append(Batch(attempts=[(3, 7)], dead=[(8, "why", 1)], ended=list(range(1, 7))))
    assert "the disk is full" in store.health(), "there is no room for new ones still"
    monkeypatch.undo()
    assert store.health() == ""
    store.append(Batch([job(2000)]))
    found = jobs(store)
    assert [one.number for one in found] == [7, *range(9, 1001), 2000] and found[0].attempts == 3
    store.close()
    assert not os.path.exists(f"{path}-reserve")


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("commits", [1, 5])
def test_a_file_that_was_emptied_is_noticed_at_the_next_commit(
    suffix: str, commits: int, open_store: Open, path: Path
) -> None:
    """As by a log rotation that copies and truncates. SQLite would go on, and nothing of it be there at the next start."""
    store = open_store()
    for number in range(commits):
        store.append(Batch([job(number + 1, b"x" * 5000)]))
    store._empty_log()
    store.append(Batch([job(50)]))
    os.truncate(f"{path}{suffix}", 0)
    with pytest.raises(StoreLost, match="was emptied"):
        store.append(Batch([job(51)]))


def test_what_others_do_to_the_log_is_no_trouble(open_store: Open, path: Path) -> None:
    store = open_store()
    for number in range(1, 200):
        store.append(Batch([job(number, b"x" * 5000)], ended=[number - 1]))
        if number % 50 == 0:
            sql(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        if number % 70 == 0:
            store.append(Batch(ended=[number]))
            sql(path, "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")
            store.append(Batch([job(number + 1000 + more, b"x" * 9000) for more in range(50)]))
            store.append(Batch(ended=[number + 1000 + more for more in range(50)]))
    assert [one.number for one in jobs(store)] == [199] and store.check() == []


def test_a_lock_that_somebody_removed_ends_the_store(open_store: Open, path: Path) -> None:
    store = open_store()
    store.append(Batch([job(1)]))
    os.unlink(f"{path}-lock")
    with pytest.raises(StoreLost, match="-lock was deleted, and another server may use the store"):
        store.append(Batch([job(2)]))


def test_a_store_without_its_servers_row_is_refused_with_a_sentence(open_store: Open, path: Path) -> None:
    open_store().close()
    sql(path, "DELETE FROM servers")
    with pytest.raises(StoreError, match="has no row about its server; run `fastgear store check`"):
        open_store()


def test_a_file_with_two_names_is_refused(open_store: Open, path: Path) -> None:
    """By its other name, another server would not see the lock, and SQLite not the log."""
    open_store().close()
    os.link(path, path.with_name("other.db"))
    with pytest.raises(StoreError, match="hard link"):
        open_store()


def test_the_log_stays_bounded_beside_a_reader_that_comes_and_goes(open_store: Open, path: Path) -> None:
    store = open_store(durability="off")
    for turn in range(6):
        with SqliteView(path) as reader, reader.snapshot():
            seen = reader.count()
            for number in range(turn * 1000 + 1, turn * 1000 + 101):
                store.append(Batch([job(number, b"x" * 100_000)], ended=[number - 1]))
            assert reader.count() == seen
        for number in range(turn * 1000 + 101, turn * 1000 + 120):
            store.append(Batch([job(number, b"x" * 1_000_000)], ended=[number - 1]))
        assert sizes(path) < 60 * MIB


def test_a_program_that_is_busy_in_python_does_not_hold_up_a_batch_row_by_row(open_store: Open) -> None:
    store = open_store()
    rows = [tuple(job(number)) for number in range(1, 5001)]
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)])
    busy.start()
    try:
        start = time.monotonic()
        store.append(Batch(rows))  # type: ignore[arg-type]
        store.append(Batch(attempts=[(1, number) for number in range(1, 5001)]))
        store.append(Batch(ended=list(range(1, 5001))))
        took = time.monotonic() - start
    finally:
        stop.set()
        busy.join()
    assert took < 5, "15 000 rows, of which each would wait 5 ms for the GIL"


def test_it_is_made_in_one_thread_and_used_in_another(open_store: Open) -> None:
    store = open_store()
    with ThreadPoolExecutor(1) as service:
        service.submit(store.append, Batch([job(1)])).result()
        assert service.submit(jobs, store).result() == [job(1)]
        service.submit(store.close).result()


# -- durability is what it says


@pytest.mark.parametrize(("durability", "survives"), [("full", 1), ("normal", 1), ("off", 1), ("on-shutdown", 0)])
def test_what_survives_the_death_of_the_process(durability: str, survives: int, open_store: Open, path: Path) -> None:
    script = f"""
import os, signal
from fastgear.storage.sqlite import SqliteStore
from fastgear.storage.store import Batch
store = SqliteStore({str(path)!r}, durability={durability!r})
store.append(Batch([(1, b"f", b"", None, b"w", 1, 0, 0, 0)]))
assert store.workload(1) == b"w"
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    with SqliteView(path) as beside:
        assert beside.count() == (survives, 0), "what is in the log only is seen too"
    assert len(jobs(open_store())) == survives


def test_on_shutdown_writes_at_the_close_and_not_before(open_store: Open, path: Path) -> None:
    store = open_store(durability="on-shutdown")
    store.append(Batch([job(1), job(2)]))
    store.append(Batch(attempts=[(3, 2)], ended=[1]))
    with pytest.raises(KeyError):
        store.workload(1)
    with SqliteView(path) as beside:
        assert beside.count() == (0, 0)
        store.close()
        assert beside.count() == (1, 0)
    assert jobs(open_store()) == [job(2, attempts=3)]


def test_a_close_that_cannot_write_may_be_tried_again(
    open_store: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "_WAIT_S", 0.01)
    store = open_store(durability="on-shutdown")
    store.append(Batch([job(1)]))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreTrouble):
        store.close()
    other.close()
    store.close()
    assert jobs(open_store()) == [job(1)]


def test_a_whole_is_all_or_nothing(open_store: Open) -> None:
    store = open_store()
    with pytest.raises(ZeroDivisionError), store.whole():
        store.append(Batch([job(1)]))
        _ = 1 / 0
    assert jobs(store) == []
    with store.whole():
        store.append(Batch([job(1)]))
        store.append(Batch([job(2)]))
    assert jobs(store) == [job(1), job(2)] and store.last_number == 2


# -- beside a server


def test_a_view_reads_and_drops_beside_the_server(open_store: Open, path: Path) -> None:
    store = open_store()
    store.remember_prefix("H:here:")
    store.append(Batch([job(1), job(2), job(3)], dead=[(2, "why", 5), (3, "why", 5)]))
    with SqliteView(path, writable=True) as beside:
        assert (beside.prefix, beside.last_number, beside.count()) == ("H:here:", 3, (1, 2))
        assert [one.job.number for one in beside.dead()] == [2, 3]
        beside.drop_dead(2)
        with pytest.raises(KeyError):
            beside.drop_dead(2)
        assert beside.check() == []
    assert [one.job.number for one in store.dead()] == [3]
    store.append(Batch([job(4)]))
    assert [one.number for one in jobs(store)] == [1, 4]


def test_a_view_that_only_reads_cannot_write_and_makes_no_file(open_store: Open, path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SqliteView(path)
    assert not path.exists()
    store = open_store()
    store.append(Batch([job(1)], dead=[(1, "why", 5)]))
    store.close()
    with SqliteView(path) as beside, pytest.raises(StoreTrouble, match="read-only"):
        beside.drop_dead(1)
