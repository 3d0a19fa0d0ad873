# SPDX-License-Identifier: MIT
"""The supervisor with real processes: each promise of it is one test."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest

from fastgear import CannotStart, ConfigError
from fastgear.config import SupervisorConfig
from fastgear.supervisor import loop
from fastgear.supervisor.child import Context
from fastgear.supervisor.events import Died, Event, Ready, Reason, Started, StartFailed
from fastgear.supervisor.launch import Workers, launch
from fastgear.supervisor.memory import OomCount, resident_bytes

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="has nothing to do with a server")

LONG_S = 10.0

# -- what the workers run


def leave_at_sigterm() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def idle(context: Context) -> None:
    leave_at_sigterm()
    context.ready()
    while True:
        signal.pause()


def dying(context: Context) -> None:
    context.ready()
    os.kill(os.getpid(), signal.SIGKILL)


def raising(context: Context) -> None:
    raise ValueError("no such luck")


def working(context: Context, log: str, seconds: float) -> None:
    """Jobs, one after the other, each of which writes its beginning and its end."""
    leaving = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    context.ready()
    with open(log, "a", buffering=1) as file:
        while not leaving.is_set():
            context.begin("work")
            file.write("begin\n")
            time.sleep(seconds)
            file.write("end\n")
            context.end()


def overdue(context: Context, stubborn: bool, limit_s: float | None) -> None:
    """One job that never ends; a stubborn one does not even at SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: os._exit(7))
    context.ready()
    context.begin("forever", 42, limit_s)
    while True:
        time.sleep(60)


# -- driving it


class Crew:
    """Workers, and every event that they have sent."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.events: list[Event] = []

    def hear(self, seconds: float) -> None:
        """All that comes in this time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self.workers.running:
            self.events += self.workers.receive(left)

    def wait_for(self, true: Callable[[], Any], timeout: float = LONG_S) -> Any:
        until = time.monotonic() + timeout
        while not (found := true()):
            assert time.monotonic() < until and self.workers.running, f"it did not happen: {self.events}"
            self.events += self.workers.receive(0.02)
        return found

    def all(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def ready(self, count: int) -> list[int]:
        """Wait until so many workers are ready; their pids."""

        def enough() -> list[int]:
            pids = [worker.pid for worker in self.workers.workers() if worker.ready]
            return pids if len(pids) == count else []

        pids: list[int] = self.wait_for(enough)
        return pids

    def death(self, reason: Reason | None = None) -> Died:
        """Wait for one."""

        def found() -> list[Died]:
            return [died for died in self.all(Died) if reason in (None, died.reason)]

        died: Died = self.wait_for(found)[0]
        return died


Start = Callable[..., Crew]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Without pytest's watchdog, so that this process may fork; and these functions can be sent where nobody can import them."""
    faulthandler.cancel_dump_traceback_later()
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture
def start() -> Iterator[Start]:
    """start(main, *args, how=, **options) launches workers; they are closed at the end, and nothing may be left of them."""
    made: list[Crew] = []

    def start_one(main: Callable[..., None], *args: Any, how: str = "auto", **options: Any) -> Crew:
        config = SupervisorConfig(**{"jitter": 0.0, "workers": 1} | options)
        made.append(Crew(launch(main, *args, config=config, start=how)))
        return made[-1]

    yield start_one
    for crew in made:
        crew.workers.close()
        crew.workers.close()


def alive(*pids: int) -> list[int]:
    return [pid for pid in pids if is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_all_go(*pids: int) -> None:
    until = time.monotonic() + 5
    while left := alive(*pids):
        assert time.monotonic() < until, f"still there: {left}"
        time.sleep(0.01)


def script(text: str, folder: Path) -> list[str]:
    """A program of its own, so that it has a __main__ and can be killed."""
    path = folder / "program.py"
    path.write_text(
        "import os, signal, sys, threading, time\n"
        "from fastgear.config import SupervisorConfig\n"
        "from fastgear.supervisor.launch import launch\n" + textwrap.dedent(text)
    )
    return [sys.executable, str(path)]


def run_script(text: str, folder: Path) -> str:
    done = subprocess.run(script(text, folder), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


IDLE = """
    def idle(context):
        context.ready()
        while True:
            signal.pause()

    def pids(workers, count):
        workers.wait_ready(count, 20)
        return " ".join(str(worker.pid) for worker in workers.workers())
"""


# -- starting and restarting


def test_a_killed_worker_is_replaced(start: Start) -> None:
    crew = start(idle, workers=2)
    before = crew.ready(2)
    os.kill(before[0], signal.SIGKILL)
    died = crew.death()
    assert (died.pid, died.exit_code, died.reason, died.busy) == (before[0], -signal.SIGKILL, Reason.CRASHED, False)
    after = crew.ready(2)
    assert before[0] not in after and before[1] in after
    assert [started.generation for started in crew.all(Started)] == [1, 2, 3]


def test_the_default_is_one_worker_for_each_cpu_that_may_be_used(start: Start) -> None:
    from fastgear.cpus import usable_cpus

    crew = start(idle, workers=0)
    crew.ready(usable_cpus())


def test_workers_that_die_of_their_start_are_replaced_with_growing_pauses(start: Start) -> None:
    crew = start(dying, backoff_s=10.0)
    crew.hear(1.5)
    # at once, and after 0.1, 0.2, 0.4, 0.8 s, each with jitter from half to all
    assert 4 <= len(crew.all(Started)) <= 7
    assert crew.workers.running


def test_a_worker_that_cannot_start_stops_the_whole_with_its_traceback(start: Start) -> None:
    crew = start(raising, workers=2)
    assert crew.workers.wait(LONG_S) == 1
    crew.events += crew.workers.receive()
    (failed,) = crew.all(StartFailed)
    assert failed.kind == "ValueError" and "in raising" in failed.text and "no such luck" in failed.text
    assert "child.py" not in failed.text
    assert len(crew.all(Started)) == 2


def test_waiting_for_workers_that_cannot_start_raises_with_the_traceback(start: Start) -> None:
    crew = start(raising)
    with pytest.raises(CannotStart, match="cannot start: ValueError: no such luck") as caught:
        crew.workers.wait_ready(1, LONG_S)
    assert "in raising" in caught.value.remote_traceback
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.remote_traceback == caught.value.remote_traceback


@pytest.mark.parametrize("leave", [lambda context: None, lambda context: sys.exit(3), lambda context: os._exit(3)])
def test_a_worker_that_leaves_before_it_is_ready_cannot_start(start: Start, leave: Any) -> None:
    crew = start(leave)
    assert crew.workers.wait(LONG_S) == 1
    crew.events += crew.workers.receive()
    assert "before it was ready" in crew.all(StartFailed)[0].text


def start_once(context: Context) -> None:
    if context.generation > 2:
        raise ValueError("no more")
    idle(context)


def test_while_others_are_ready_one_that_cannot_start_is_tried_again(start: Start) -> None:
    crew = start(start_once, workers=2)
    pids = crew.ready(2)
    os.kill(pids[0], signal.SIGKILL)
    crew.wait_for(lambda: len(crew.all(StartFailed)) >= 2)
    assert crew.ready(1) == [pids[1]] and crew.workers.running
    assert len(crew.all(StartFailed)) <= 5, "with pauses"


def test_a_worker_that_returns_is_replaced(start: Start) -> None:
    crew = start(lambda context: context.ready())
    died = crew.death()
    assert (died.reason, died.exit_code) == (Reason.LEFT, 0)
    crew.wait_for(lambda: len(crew.all(Ready)) >= 2)


def test_a_kill_for_want_of_memory_is_named_when_the_kernel_counts_it(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events = tmp_path / "cgroup" / "a" / "memory.events"
    events.parent.mkdir(parents=True)
    events.write_text("low 0\noom 0\noom_kill 0\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/a\n")
    monkeypatch.setattr(loop, "OomCount", lambda: OomCount(tmp_path / "cgroup", tmp_path))
    crew = start(idle)
    (pid,) = crew.ready(1)
    time.sleep(0.2)  # the count of before is read in a quiet moment
    events.write_text("low 0\noom 1\noom_kill 1\n")
    os.kill(pid, signal.SIGKILL)
    assert crew.death().reason is Reason.OUT_OF_MEMORY
    os.kill(crew.ready(1)[0], signal.SIGKILL)
    assert crew.death(Reason.CRASHED)


def test_the_count_of_such_kills_is_found_wherever_the_kernel_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("9:cpu:/x\n4:memory:/b\n0::/\n")
    (tmp_path / "vmstat").write_text("nr_free_pages 5\noom_kill 3\n")
    count = OomCount(tmp_path / "cgroup", tmp_path)
    (tmp_path / "vmstat").write_text("nr_free_pages 5\noom_kill 4\n")
    assert count.rose() and not count.rose()
    (tmp_path / "cgroup" / "memory" / "b").mkdir(parents=True)
    (tmp_path / "cgroup" / "memory" / "b" / "memory.oom_control").write_text("under_oom 0\noom_kill 0\n")
    count = OomCount(tmp_path / "cgroup", tmp_path)
    (tmp_path / "cgroup" / "memory" / "b" / "memory.oom_control").write_text("under_oom 0\noom_kill 1\n")
    assert count.rose()


# -- recycling


def test_a_worker_is_replaced_after_its_number_of_jobs_by_one_that_is_ready_first(start: Start, tmp_path: Path) -> None:
    crew = start(working, str(tmp_path / "log"), 0.005, max_jobs=5)
    died = crew.death()
    assert died.reason is Reason.MAX_JOBS and died.exit_code == 0 and died.jobs >= 5
    assert [ready.generation for ready in crew.all(Ready)][:2] == [1, 2]
    assert crew.events.index(crew.all(Ready)[1]) < crew.events.index(died)


def growing(context: Context, size: int) -> None:
    held = bytearray(size if context.generation == 1 else 0)
    held[::4096] = bytes(len(held[::4096]))
    idle(context)


def test_a_worker_is_replaced_when_it_holds_too_much_memory(start: Start) -> None:
    now = resident_bytes(os.getpid())
    crew = start(growing, 128 << 20, max_rss=now + (64 << 20))
    died = crew.death()
    assert (died.generation, died.reason, died.exit_code) == (1, Reason.MAX_RSS, 0)
    crew.ready(1)
    assert resident_bytes(0) == 0


def test_a_worker_is_replaced_at_its_age(start: Start) -> None:
    crew = start(idle, max_age_s=0.3)
    begun = time.monotonic()
    assert crew.death().reason is Reason.MAX_AGE
    assert 0.25 < time.monotonic() - begun < 3


# -- time limits


def test_a_worker_over_its_time_limit_is_told_to_leave(start: Start) -> None:
    crew = start(overdue, False, None, time_limit_s=0.3)
    died = crew.death()
    assert (died.reason, died.exit_code, died.busy, died.function, died.task) == (
        Reason.TIME_LIMIT,
        7,
        True,
        "forever",
        42,
    )


def test_one_that_does_not_leave_is_killed_after_the_grace(start: Start) -> None:
    crew = start(overdue, True, None, time_limit_s=0.3, grace_s=0.4)
    crew.ready(1)
    begun = time.monotonic()
    died = crew.death()
    assert (died.reason, died.exit_code) == (Reason.TIME_LIMIT, -signal.SIGKILL)
    assert 0.5 < time.monotonic() - begun < 3
    assert str(died) == f"worker {died.pid} is gone: time limit, SIGKILL in forever"


def two_limits(context: Context) -> None:
    """The first worker's job may take long; the second one's may not, and begins later."""
    if context.generation == 2:
        time.sleep(0.3)
    overdue(context, False, 0.2 if context.generation == 2 else 60.0)


def test_a_limit_that_is_due_before_those_that_are_known_is_kept(start: Start) -> None:
    crew = start(two_limits, workers=2)
    died = crew.death()
    assert (died.generation, died.reason) == (2, Reason.TIME_LIMIT)


def test_jobs_within_their_time_are_left_alone(start: Start, tmp_path: Path) -> None:
    crew = start(working, str(tmp_path / "log"), 0.01, time_limit_s=0.2)
    crew.hear(0.8)
    assert not crew.all(Died)


def test_a_worker_is_killed_on_request_and_its_task_is_named(start: Start) -> None:
    crew = start(overdue, True, 0.0)
    (pid,) = crew.ready(1)
    crew.wait_for(lambda: crew.workers.workers()[0].function == "forever")
    crew.workers.kill(pid, "too slow")
    crew.workers.kill(1, "is none of them")
    died = crew.death()
    assert (died.reason, died.detail, died.task) == (Reason.KILLED, "too slow", 42)
    assert "killed (too slow)" in str(died)
    assert pid not in crew.ready(1)


def with_child(context: Context, path: str) -> None:
    with open(path, "w") as file:
        file.write(str(subprocess.Popen(["sleep", "60"]).pid))
    overdue(context, True, 0.1)


def test_what_a_killed_worker_has_started_goes_with_it(start: Start, tmp_path: Path) -> None:
    crew = start(with_child, str(tmp_path / "pid"), grace_s=0.1)
    crew.death(Reason.TIME_LIMIT)
    assert_all_go(int((tmp_path / "pid").read_text()))


# -- size, reload, end


def test_workers_come_and_go_as_wanted_and_finish_their_jobs(start: Start, tmp_path: Path) -> None:
    crew = start(working, str(tmp_path / "log"), 0.02)
    crew.ready(1)
    crew.workers.resize(4)
    crew.ready(4)
    crew.hear(0.2)
    crew.workers.resize(1)
    crew.ready(1)
    crew.wait_for(lambda: len(crew.all(Died)) == 3)
    assert {(died.reason, died.exit_code, died.busy) for died in crew.all(Died)} == {(Reason.RESIZED, 0, False)}
    crew.workers.drain()
    assert crew.workers.wait(LONG_S) == 0
    lines = (tmp_path / "log").read_text().split()
    assert lines.count("begin") == lines.count("end") > 10


def importing(context: Context, folder: str) -> None:
    sys.path.insert(0, folder)
    import reloaded_module  # type: ignore[import-not-found]

    leave_at_sigterm()
    context.ready()
    context.begin(reloaded_module.VERSION)
    while True:
        signal.pause()


def versions(crew: Crew) -> set[str]:
    return {worker.function for worker in crew.workers.workers() if worker.ready and worker.function}


def test_a_reload_loads_new_code_and_there_are_never_too_few_workers(start: Start, tmp_path: Path) -> None:
    module = tmp_path / "reloaded_module.py"
    module.write_text("VERSION = 'old'\n")
    crew = start(importing, str(tmp_path), workers=3)
    crew.ready(3)
    crew.wait_for(lambda: versions(crew) == {"old"})
    module.write_text("VERSION = 'new one'\n")
    crew.workers.reload()
    crew.wait_for(lambda: versions(crew) == {"new one"} and len(crew.all(Died)) == 3)
    capacity = 0
    for event in crew.events:
        capacity += isinstance(event, Ready) - isinstance(event, Died)
        assert capacity >= 2 or not crew.all(Died) or crew.events.index(event) < crew.events.index(crew.all(Died)[0])
    assert {died.reason for died in crew.all(Died)} == {Reason.RELOADED}


def test_a_reload_of_broken_code_leaves_the_old_workers_in_place(start: Start, tmp_path: Path) -> None:
    module = tmp_path / "reloaded_module.py"
    module.write_text("VERSION = 'old'\n")
    crew = start(importing, str(tmp_path), workers=2)
    before = crew.ready(2)
    module.write_text("VERSION = 'broken'\nraise ImportError(VERSION)\n")
    crew.workers.reload()
    crew.wait_for(lambda: crew.all(StartFailed))
    crew.hear(0.5)
    assert crew.ready(2) == before and len(crew.all(StartFailed)) == 1


def test_a_drain_takes_as_long_as_the_jobs_and_no_longer_than_it_may(start: Start, tmp_path: Path) -> None:
    crew = start(working, str(tmp_path / "log"), 0.3)
    crew.wait_for(lambda: (tmp_path / "log").exists() and "begin" in (tmp_path / "log").read_text())
    crew.workers.drain()
    assert crew.workers.wait(LONG_S) == 0
    assert (tmp_path / "log").read_text().split()[-1] == "end"
    crew = start(overdue, True, None, drain_s=0.2)
    crew.wait_for(lambda: crew.workers.workers() and crew.workers.workers()[0].function)
    crew.workers.drain()
    assert crew.workers.wait(LONG_S) == 1, "somebody was cut off"


def test_a_signal_to_the_supervisor_after_a_drain_was_asked_for_is_no_second_one(start: Start, tmp_path: Path) -> None:
    crew = start(working, str(tmp_path / "log"), 0.5)
    crew.wait_for(lambda: (tmp_path / "log").exists() and "begin" in (tmp_path / "log").read_text())
    crew.workers.drain()
    time.sleep(0.1)
    os.kill(crew.workers.pid, signal.SIGTERM)
    assert crew.workers.wait(LONG_S) == 0
    assert (tmp_path / "log").read_text().split()[-1] == "end"


def test_waiting_is_bounded(start: Start) -> None:
    crew = start(idle)
    with pytest.raises(TimeoutError):
        crew.workers.wait(0.05)
    with pytest.raises(TimeoutError):
        crew.workers.wait_ready(5, 0.05)


def test_the_board_shows_what_each_worker_does(start: Start, tmp_path: Path) -> None:
    crew = start(working, str(tmp_path / "log"), 0.05, workers=2)
    crew.ready(2)
    crew.wait_for(lambda: all(worker.jobs >= 2 for worker in crew.workers.workers()))
    for worker in crew.workers.workers():
        assert 0.1 <= worker.busy_s < 5 and worker.function in ("work", "") and worker.generation in (1, 2)
    pids = [worker.pid for worker in crew.workers.workers()]
    crew.workers.close()
    assert crew.workers.workers() == () and not alive(*pids)


# -- who goes with whom


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_caller_killed_with_9_leaves_no_process(how: str, tmp_path: Path) -> None:
    text = f"""{IDLE}
    workers = launch(idle, config=SupervisorConfig(workers=2), start="{how}")
    sleeper = os.fork()  # holds a copy of everything
    if sleeper == 0:
        time.sleep(60)
    print(pids(workers, 2), workers.pid, sleeper, flush=True)
    time.sleep(60)
    """
    process = subprocess.Popen(script(text, tmp_path), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    *pids, sleeper = (int(word) for word in process.stdout.readline().split())
    try:
        assert len(alive(*pids)) == 3
        process.kill()
        process.wait()
        assert_all_go(*pids)
    finally:
        os.kill(sleeper, signal.SIGKILL)
        process.stdout.close()


def test_a_template_killed_with_9_leaves_no_process_and_its_caller_notices(start: Start) -> None:
    crew = start(overdue, True, None, workers=2)
    pids = crew.ready(2)
    os.kill(crew.workers.pid, signal.SIGKILL)
    assert crew.workers.wait(LONG_S) == -signal.SIGKILL
    assert_all_go(*pids)
    crew.workers.resize(3)
    assert crew.workers.receive(1.0) is not None and not crew.workers.running


def test_a_caller_that_ends_without_closing_leaves_no_process(tmp_path: Path) -> None:
    text = f"""{IDLE}
    workers = launch(idle, config=SupervisorConfig(workers=2))
    print(pids(workers, 2), workers.pid, flush=True)
    """
    assert_all_go(*(int(word) for word in run_script(text, tmp_path).split()))


def test_a_caller_that_holds_its_interpreter_does_not_hold_up_restarts(start: Start) -> None:
    crew = start(idle)
    (pid,) = crew.ready(1)
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.3)  # the caller reads no events; the board shows what has happened meanwhile
    (worker,) = crew.workers.workers()
    assert worker.ready and worker.pid != pid and worker.generation == 2


def test_ctrl_c_reaches_neither_workers_nor_their_supervisor(tmp_path: Path) -> None:
    text = f"""{IDLE}
    signal.signal(signal.SIGINT, lambda *_: None)
    with launch(idle, config=SupervisorConfig(workers=2)) as workers:
        before = pids(workers, 2)
        os.killpg(0, signal.SIGINT)
        time.sleep(0.3)
        assert workers.running and pids(workers, 2) == before
    """
    done = subprocess.run(script(text, tmp_path), capture_output=True, text=True, timeout=60, start_new_session=True)
    assert (done.returncode, done.stderr) == (0, "")


# -- how the template starts


def test_a_caller_with_threads_gets_an_executed_template(start: Start) -> None:
    deadline = time.monotonic() + 10
    while len(os.listdir("/proc/self/task")) > 1:  # a thread of an earlier test, which was joined, may still be going
        assert time.monotonic() < deadline
    assert start(idle).workers.start == "fork"
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        crew = start(idle, workers=2)
        assert crew.workers.start == "spawn"
        crew.ready(2)
        assert "run_executed" in " ".join(psutil.Process(crew.workers.pid).cmdline())
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_closures_and_lambdas_of_main_work(how: str, tmp_path: Path) -> None:
    text = f"""
    import functools
    class Here:
        value = "class of main"
    def make(found):
        def main(context, here, twice):
            found["seen"] = found.get("seen", 0) + 1
            context.ready()
            context.begin(f"{{here().value}} {{found['seen']}} {{twice(21)}}")
            while True:
                signal.pause()
        return main
    with launch(make({{}}), Here, lambda n: 2 * n, config=SupervisorConfig(workers=1), start="{how}") as workers:
        workers.wait_ready(1, 20)
        while not workers.workers()[0].function:
            time.sleep(0.01)
        print(workers.workers()[0].function)
    """
    assert run_script(text, tmp_path) == "class of main 1 42\n"


def test_what_cannot_be_pickled_is_refused_and_nothing_is_left(start: Start) -> None:
    with pytest.raises(TypeError):
        start(idle, threading.Lock(), how="spawn")
    with pytest.raises(ConfigError, match="start: 'never' is not one of auto, fork, spawn"):
        start(idle, how="never")


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_caller_without_standard_input_is_served_as_well(how: str, tmp_path: Path) -> None:
    text = f"""{IDLE}
    os.closerange(0, 1)
    with launch(idle, config=SupervisorConfig(workers=2), start="{how}") as workers:
        workers.wait_ready(2, 20)
        os.kill(workers.workers()[0].pid, signal.SIGKILL)
        while max(worker.generation for worker in workers.workers()) < 3:
            time.sleep(0.01)
        workers.wait_ready(2, 20)
    print(os.listdir("/proc/self/fd").count("0"))
    """
    assert run_script(text, tmp_path) == "1\n", "the listing's own"


class Unreadable:
    def __reduce__(self) -> Any:
        return int, ("this is no number",)


def test_what_cannot_be_unpickled_is_reported(start: Start) -> None:
    crew = start(idle, Unreadable(), how="spawn")
    with pytest.raises(CannotStart, match="invalid literal for int"):
        crew.workers.wait_ready(1, LONG_S)


def looking_around(context: Context, path: str) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)]
    assert handlers == [signal.SIG_DFL] * 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    assert sys.stdin.read() == "" and os.read(0, 1) == b""
    assert os.getpgid(0) == os.getpid()
    sys.stdout = open(path, "w")  # noqa: SIM115
    print("written", end="")
    context.ready()


def test_a_worker_has_no_input_no_handlers_and_no_blocked_signals_and_its_output_is_flushed(
    start: Start, tmp_path: Path
) -> None:
    previous = signal.signal(signal.SIGUSR1, lambda *_: None)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        crew = start(looking_around, str(tmp_path / "out"))
    finally:
        signal.signal(signal.SIGUSR1, previous)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert crew.death().reason is Reason.LEFT, crew.events
    deadline = time.monotonic() + 10
    while (tmp_path / "out").read_text() != "written":  # the next one may just have begun with an empty file
        assert time.monotonic() < deadline


def ending_as_python_does(context: Context, path: str) -> None:
    def write(text: str) -> None:
        time.sleep(0.1)
        with open(path, "a") as file:
            file.write(text)

    threading.Thread(target=write, args=("thread ",)).start()
    atexit.register(write, "atexit ")
    context.ready()


def test_a_worker_that_leaves_waits_for_its_threads_and_runs_its_own_exit_functions_only(
    start: Start, tmp_path: Path
) -> None:
    atexit.register(os.abort)  # a worker must not run it
    try:
        crew = start(ending_as_python_does, str(tmp_path / "out"))
        assert (crew.death().reason, crew.all(Died)[0].exit_code) == (Reason.LEFT, 0)
    finally:
        atexit.unregister(os.abort)
    assert (tmp_path / "out").read_text().startswith("thread atexit ")


# -- what it costs


def switches(pid: int) -> int:
    found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_nothing_wakes_up_while_nothing_happens(start: Start) -> None:
    crew = start(idle, workers=2, max_jobs=100, time_limit_s=1.0, max_age_s=1000.0)
    pids = [crew.workers.pid, *crew.ready(2)]
    crew.hear(0.3)
    before = [switches(pid) for pid in pids]
    time.sleep(1.0)
    assert [switches(pid) for pid in pids] == before


@pytest.mark.alone("milliseconds are measured")
def test_start_and_stop_take_milliseconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"""{IDLE}
    def once(ready):
        begun = time.perf_counter()
        with launch(idle, config=SupervisorConfig(workers=2), start="fork") as workers:
            if ready:
                workers.wait_ready(2, 5)
        return (time.perf_counter() - begun) * 1000
    for ready in (True, False):
        print(min(once(ready) for _ in range(10)))
    """
    until_ready, at_once = (float(line) for line in run_script(text, tmp_path).split())
    with capsys.disabled():
        print(f"\n2 workers: start, ready and stop {until_ready:.1f} ms; start and stop {at_once:.1f} ms")
    assert until_ready < 100


# -- in charge of what others left


def test_strangers_that_are_left_to_it_are_reaped(tmp_path: Path) -> None:
    text = """
    import ctypes
    from fastgear.supervisor.loop import Supervisor
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # as for process 1, orphans come here

    def main(context):
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(0.1)
            os._exit(5)
        os.wait()
        context.ready()
        while True:
            signal.pause()
    print("up", flush=True)
    sys.exit(Supervisor(main, (), SupervisorConfig(workers=1)).run())
    """
    process = subprocess.Popen(script(text, tmp_path), stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    time.sleep(0.6)
    try:
        children = psutil.Process(process.pid).children()
        assert len(children) == 1 and children[0].status() != psutil.STATUS_ZOMBIE
    finally:
        process.terminate()
        assert process.wait(10) == 0
        process.stdout.close()


def test_a_fork_of_the_caller_has_no_part_in_its_workers(start: Start) -> None:
    crew = start(idle)
    pids = crew.ready(1)
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            crew.workers.close()
            code = int(crew.workers.running)
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    crew.hear(0.1)
    assert crew.ready(1) == pids
