# SPDX-License-Identifier: MIT
"""The public names: all there, all documented, and lazy."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastgear


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for module in (fastgear, fastgear.aio):
        assert module.__all__ == sorted(set(module.__all__))
        for name in module.__all__:
            assert inspect.getdoc(getattr(module, name)), name
            assert name in dir(module)


def test_there_is_nothing_else() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Srever'"):
        _ = fastgear.Srever


PUBLIC = [getattr(fastgear, name) for name in ("Server", "Client", "Worker", "AdminClient", "Job", "WorkerJob")]


@pytest.mark.parametrize("public", [*PUBLIC, *(getattr(fastgear.aio, name) for name in fastgear.aio.__all__)])
def test_public_methods_are_documented(public: type) -> None:
    for member, value in inspect.getmembers(public):
        if not member.startswith("_") and (callable(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{public}.{member}"


PAIRS = [("Client", set()), ("Job", set()), ("Worker", {"observe"}), ("WorkerJob", set())]


@pytest.mark.parametrize(("name", "missing"), PAIRS, ids=[name for name, _ in PAIRS])
def test_asyncio_s_classes_have_the_names_of_the_blocking_ones(name: str, missing: set[str]) -> None:
    blocking, other = getattr(fastgear, name), getattr(fastgear.aio, name)
    names = {member for member in dir(blocking) if not member.startswith("_")}
    assert names - {member for member in dir(other) if not member.startswith("_")} == missing
    for member in names - missing:
        value = getattr(blocking, member)
        if callable(value):
            theirs = inspect.signature(getattr(other, member)).parameters
            assert set(inspect.signature(value).parameters) <= set(theirs), f"{name}.{member}"


@pytest.mark.parametrize("code", ["None", "fastgear.Client, fastgear.Worker, fastgear.Server"])
def test_who_does_without_asyncio_does_not_import_it(code: str, tmp_path: Path) -> None:
    assert imported(f"import sys, fastgear; {code}; print('asyncio' in sys.modules)", tmp_path) == "False"
    assert imported("import sys, fastgear; fastgear.aio.Client; print('asyncio' in sys.modules)", tmp_path) == "True"


def test_importing_the_package_imports_nothing_of_it(tmp_path: Path) -> None:
    code = "import sys, fastgear; print([name for name in sys.modules if name.startswith('fastgear.')])"
    assert imported(code, tmp_path) == "[]"


def imported(code: str, tmp_path: Path) -> str:
    """What a new process prints."""
    folder = str(Path(next(iter(fastgear.__path__))).parent)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": folder},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def modules() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages(fastgear.__path__, "fastgear.")]
    return ["fastgear", *(name for name in found if not name.endswith("__main__"))]


@pytest.mark.parametrize("name", modules())
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
