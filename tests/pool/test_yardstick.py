# SPDX-License-Identifier: MIT
"""CPython's own tests, run on Executor and Pool where this Python has them. Most of their time is sleep, so all at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pool import yardstick

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no pool")


@pytest.mark.skipif(yardstick.folder() is None, reason="this Python's package `test` has no test_concurrent_futures")
def test_cpythons_own_cases(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", str(Path(yardstick.__file__).resolve())]
    programs = []
    for group in yardstick.GROUPS:
        with open(tmp_path / group, "w") as output:
            programs.append(subprocess.Popen([*command, group], stdout=output, stderr=subprocess.STDOUT))
    codes = [program.wait(400) for program in programs]
    outputs = {
        group: (tmp_path / group).read_text() for group, code in zip(yardstick.GROUPS, codes, strict=True) if code
    }
    assert not outputs, "\n".join(f"{group}:\n{text}" for group, text in outputs.items())


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the table is of Python 3.11")
@pytest.mark.skipif(yardstick.folder() is None, reason="this Python's package `test` has no test_concurrent_futures")
def test_the_table_lists_each_case(tmp_path: Path) -> None:
    file = tmp_path / "table"
    subprocess.run(
        [sys.executable, str(Path(yardstick.__file__).resolve()), "table", str(file)], check=True, timeout=60
    )
    assert file.read_text() in yardstick.PAGE.read_text(), "write it again: python tests/pool/yardstick.py table"
