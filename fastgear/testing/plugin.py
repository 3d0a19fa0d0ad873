# SPDX-License-Identifier: MIT
"""The pytest plugin, found by its entry point: the fixture `gearman_server` and the marker `gearman`.

It is loaded in every run of pytest where fastgear is installed, so it imports nothing of fastgear until a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastgear.testing.server import GearmanServer

MARKER = "gearman(unix=False, no_jobs_left=False, **options): how gearman_server is; options are those of ServerConfig"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "gearman_no_jobs_left", "fail tests that leave jobs on gearman_server, unless marked otherwise", "bool", False
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def gearman_server(request: pytest.FixtureRequest) -> Iterator[GearmanServer]:
    """A real Gearman server of this test's own, running: see fastgear.testing.GearmanServer."""
    options = _options(request)
    no_jobs_left = options.pop("no_jobs_left", request.config.getini("gearman_no_jobs_left"))
    server = _make(options)
    with server:
        yield server
        if no_jobs_left:
            _check(server)


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The nearest marker's count before those of classes and modules."""
    options: dict[str, Any] = {}
    for marker in request.node.iter_markers("gearman"):
        options = {**marker.kwargs, **options}
    return options


def _make(options: dict[str, Any]) -> GearmanServer:
    from fastgear.errors import ConfigError
    from fastgear.testing.server import GearmanServer

    try:
        return GearmanServer(**options)
    except (ConfigError, TypeError) as error:
        pytest.fail(f"@pytest.mark.gearman: {error}", pytrace=False)


def _check(server: GearmanServer) -> None:
    try:
        server.assert_no_jobs()
    except AssertionError as error:
        pytest.fail(str(error), pytrace=False)
