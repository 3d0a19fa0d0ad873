# SPDX-License-Identifier: MIT
"""Compile the loops with the flags of the package that they measure, and import them."""

from __future__ import annotations

import fcntl
import importlib
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
NAMES = ("loop", "reference", "protocol", "base", "core")


def _counting() -> bool:
    from fastgear.base.alloc import counting

    return bool(counting)


def _folder() -> Path:
    """By variant, as the package's own are."""
    asan = os.environ.get("FASTGEAR_ASAN") == "1"
    return ROOT / "build" / f"guards-{'asan' if asan else 'debug' if _counting() else 'release'}"


def _binary(folder: Path, name: str) -> Path:
    return folder / "loops" / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"


def _is_up_to_date(folder: Path) -> bool:
    import fastgear

    package = Path(str(fastgear.__file__)).parent
    sources = [ROOT / "setup.py", Path(__file__), *(HERE / "loops").glob("*.p*")]
    sources += [*package.rglob("*.pxd"), *package.rglob("*.h")]
    newest = max(source.stat().st_mtime for source in sources)
    binaries = [_binary(folder, name) for name in NAMES]
    return all(binary.exists() and binary.stat().st_mtime >= newest for binary in binaries)


@cache
def loops(name: str) -> ModuleType:
    """A module of loops/, compiled anew when something that it is made of is newer."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_up_to_date(folder):
            _compile(folder)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module(f"loops.{name}")


def _compile(folder: Path) -> None:
    """In a process of its own, without a sanitizer's preloaded library: a compiler is not what is measured."""
    environment = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "PYTHONMALLOC")}
    environment["FASTGEAR_DEBUG"] = "1" if _counting() else "0"
    command = [sys.executable, "-W", "ignore", __file__, str(folder)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the loops do not compile:\n{done.stdout}\n{done.stderr}")


def compile_into(folder: Path) -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    of_package: dict[str, Any] = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
    compile_args, link_args, macros = of_package["compiler_flags"]()
    modules = cythonize(
        [
            Extension(
                f"loops.{name}",
                [str((HERE / "loops" / f"{name}.pyx").relative_to(ROOT))],
                include_dirs=["fastgear/base"],
                define_macros=macros,
                extra_compile_args=compile_args,
                extra_link_args=link_args,
            )
            for name in NAMES
        ],
        build_dir=str(folder / "c"),
        include_path=[str(ROOT), str(HERE)],
        compiler_directives=of_package["DIRECTIVES"],
        quiet=True,
        force=True,
    )
    distribution = Distribution({"name": "loops", "ext_modules": modules})
    command: Any = distribution.get_command_obj("build_ext")
    command.build_lib = str(folder)
    command.build_temp = str(folder / "o")
    command.parallel = os.cpu_count() or 1
    command.force = True
    command.ensure_finalized()
    command.run()
    shutil.copy(HERE / "loops" / "__init__.py", folder / "loops")


if __name__ == "__main__":
    compile_into(Path(sys.argv[1]))
