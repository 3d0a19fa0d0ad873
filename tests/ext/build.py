# SPDX-License-Identifier: MIT
"""Compile the test-only Cython drivers of tests/ext, in the same variant as the package that is tested."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import ModuleType

import fastgear
from fastgear.base.alloc import counting

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
VARIANTS = ("FASTGEAR_ASAN", "FASTGEAR_COVERAGE")


def _folder() -> Path:
    variant = next((name.removeprefix("FASTGEAR_").lower() for name in VARIANTS if os.environ.get(name) == "1"), "")
    folder = ROOT / "build" / f"drivers-{variant or ('debug' if counting else 'release')}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _newest_source(source: Path) -> float:
    package = Path(next(iter(fastgear.__path__)))
    files = [source, Path(__file__), *HERE.glob("*.pxd"), *package.rglob("*.pxd"), *package.rglob("*.h")]
    return max(file.stat().st_mtime for file in files)


@cache
def load_driver(name: str) -> ModuleType:
    """Import tests/ext/_NAME_driver.pyx, compiled anew when it or a header is newer than what was compiled."""
    module_name = f"_{name}_driver"
    source = HERE / f"{module_name}.pyx"
    for other in re.findall(r"^from _(\w+)_driver cimport", source.read_text(), re.MULTILINE):
        load_driver(other)
    folder = _folder()
    binary = folder / (module_name + sysconfig.get_config_var("EXT_SUFFIX"))
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists() or binary.stat().st_mtime < _newest_source(source):
            _compile(source, folder)
    spec = importlib.util.spec_from_file_location(module_name, binary)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def _compile(source: Path, folder: Path) -> None:
    """In a process of its own, without the sanitizer's preloaded library: a compiler is not what is tested."""
    environment = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "PYTHONMALLOC")}
    command = [sys.executable, str(HERE / "compile.py"), str(source), str(folder), "debug" if counting else "release"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{source.name} does not compile:\n{done.stdout}\n{done.stderr}")
