# SPDX-License-Identifier: MIT
"""For all tests: which server they run against, the drivers of C structures, and the gate that catches what is left behind."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads, from numpy's import on, would be there at every fork
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parent))  # before it: both hold a `pool`

from ext.build import load_driver

from fastgear.base.alloc import counting, live_allocations

_SETTLE_S = 2.0


def pytest_configure() -> None:
    """A shell lets what it starts in the background ignore SIGINT, and that would be handed down to all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--server", choices=["fastgear", "gearmand"], default="fastgear", help="what the tests talk to")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test marked differs(SERVER, reason) must fail on that server: the difference is known, and still there."""
    server = config.getoption("--server")
    for item in items:
        for mark in item.iter_markers("differs"):
            if mark.args[0] == server:
                item.add_marker(pytest.mark.xfail(reason=mark.args[1], strict=True, run=mark.kwargs.get("run", True)))


@pytest.fixture(scope="session")
def drivers() -> Callable[[str], ModuleType]:
    """Compile and import a test-only Cython driver: drivers("heap") is tests/ext/_heap_driver.pyx."""
    return load_driver


@pytest.fixture
def make_core(drivers: Callable[[str], ModuleType]) -> Iterator[Callable[..., Any]]:
    """make_core(**options) is a server without sockets; each is closed at the end."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        made.append(drivers("core").Core(**options))
        return made[-1]

    yield make
    for core in made:
        core.close()


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


def _children() -> list[psutil.Process]:
    """Who has none is told so at once; psutil looks at all processes that there are."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    return psutil.Process().children()


def _left_behind(descriptors: dict[int, str], children: set[int], allocations: int) -> list[str]:
    gc.collect()
    left = [f"descriptor {fd} ({name})" for fd, name in _descriptors().items() if fd not in descriptors]
    left += [f"process {child.pid} {child.name()}" for child in _children() if child.pid not in children]
    if counting and live_allocations() > allocations:
        left.append(f"{live_allocations() - allocations} allocations")
    return left


@pytest.fixture(autouse=True, scope="module")
def known_garbage() -> None:
    """What is there when a module begins need not be looked at again and again by the gate."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def leak_gate() -> Iterator[None]:
    """Fail a test that leaves descriptors, processes or C allocations behind."""
    gc.collect()
    descriptors, allocations = _descriptors(), live_allocations()
    children = {child.pid for child in _children()}
    yield
    deadline = time.monotonic() + _SETTLE_S
    while left := _left_behind(descriptors, children, allocations):
        if time.monotonic() > deadline:
            pytest.fail("left behind: " + ", ".join(left))
        time.sleep(0.01)
