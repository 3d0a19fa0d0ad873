# SPDX-License-Identifier: MIT
"""The types as users see them: the example checks under mypy --strict, and the stubs say what the extensions have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fastgear

ROOT = Path(__file__).parent.parent.parent
PACKAGE = Path(next(iter(fastgear.__path__)))
STUBS = sorted(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("*.pyi"))

# what Cython adds to every module, that its classes have a layout of their own, and that __cinit__ shows no parameters
ALLOWED = r"""
.*\.__pyx_capi__
.*\.__test__
fastgear\.protocol\.wire\.(Packet|PacketReader)
fastgear\.bench\.(handles\.Handles|histogram\.Histogram|load\.Load)
fastgear\.pool\.area\.(Area|WorkerArea)
fastgear\.pool\.area\.Area\.__init__
fastgear\.pool\.calls\.(Call|Calls|Later|PlainUnpickler)(\.__init__)?
fastgear\.pool\.futures\.FutureState
fastgear\.pool\.line\.Line(\.__init__)?
fastgear\.pool\.tally\.(Tally|Tallies(\.__init__)?)
fastgear\.pool\.trying\.Trying(\.__init__)?
fastgear\.pool\.values\.Failure
fastgear\.server\.local\.Local(\.__init__)?
fastgear\.server\.loop\.Loop
fastgear\.worker\.held\.HeldBack
"""


def mypy(*words: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    return done.stdout + done.stderr if done.returncode else ""


def test_the_example_is_well_typed(tmp_path: Path) -> None:
    config = ["--config-file", os.devnull, "--cache-dir", str(tmp_path / "cache")]
    assert mypy("mypy", "--strict", *config, str(ROOT / "tests" / "typing" / "example.py"), folder=tmp_path) == ""


def test_a_mistake_in_the_example_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text('import fastgear\nfastgear.Client(5).submit("f").result() + ""\n')
    found = mypy("mypy", "--strict", "--config-file", os.devnull, str(tmp_path / "wrong.py"), folder=tmp_path)
    assert "arg-type" in found and "operator" in found


def test_the_stubs_say_what_the_extensions_have(tmp_path: Path) -> None:
    assert len(STUBS) == 18
    (tmp_path / "allowed").write_text(ALLOWED)
    words = ["--concise", "--ignore-unused-allowlist", "--allowlist", str(tmp_path / "allowed")]
    assert mypy("mypy.stubtest", *words, *STUBS, folder=tmp_path) == ""
