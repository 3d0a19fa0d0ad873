# SPDX-License-Identifier: MIT
"""The public names: all there, all documented, and lazy."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastgear


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    assert fastgear.__all__ == sorted(set(fastgear.__all__))
    for name in fastgear.__all__:
        value = getattr(fastgear, name)
        assert inspect.getdoc(value), name
        assert name in dir(fastgear)


def test_there_is_nothing_else() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Srever'"):
        _ = fastgear.Srever


@pytest.mark.parametrize("name", ["Server", "Client", "Worker", "AdminClient", "Job", "WorkerJob"])
def test_public_methods_are_documented(name: str) -> None:
    for member, value in vars(getattr(fastgear, name)).items():
        if not member.startswith("_") and (callable(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"


def test_importing_the_package_imports_nothing_of_it(tmp_path: Path) -> None:
    code = "import sys, fastgear; print([name for name in sys.modules if name.startswith('fastgear.')])"
    folder = str(Path(next(iter(fastgear.__path__))).parent)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": folder},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def modules() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages(fastgear.__path__, "fastgear.")]
    return ["fastgear", *(name for name in found if not name.endswith("__main__"))]


@pytest.mark.parametrize("name", modules())
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
