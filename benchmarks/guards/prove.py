# SPDX-License-Identifier: MIT
"""Show that a slower parser is reported, and one that was only copied is not.

    python benchmarks/guards/prove.py [--baseline FILE]

In a copy of this tree, which is gone at the end: a baseline is made there, of the parser alone; it is compared with itself; then
the parser reads each header twice, and is compared once more. That is 24 % more instructions and, where the core has no other
work, 20 % more time at least; less by the ratio, when it has.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PARSER = "fastgear/protocol/packet.pyx"
BEFORE = """    cdef int status = read_header(bytes, available, packet)
    if status != FG_OK:
        return status
    if available < packet.length:
"""
AFTER = """    cdef int status = read_header(bytes, available, packet)
    if read_header(bytes, available, packet) != FG_OK or status != FG_OK:
        return status
    if available < packet.length:
"""
COPIED = ("fastgear", "benchmarks", "setup.py", "pyproject.toml", "README.md", "LICENSE", "build/cython")


def copy_to(folder: Path) -> None:
    """With the times of all files, so that nothing needs to be compiled that was not changed."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, target)


def run(folder: Path, *words: str) -> int:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=False).returncode


def compile_in(folder: Path) -> None:
    """What has changed, where it is."""
    environment = {**os.environ, "FASTGEAR_DEBUG": "0"}
    command = [sys.executable, "-W", "ignore", "setup.py", "--quiet", "build_ext", "--build-lib", "."]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the slower parser does not compile:\n{done.stderr}")


def guard(folder: Path, baseline: Path, *words: str) -> int:
    return run(folder, "benchmarks/guard.py", "--baseline", str(baseline), "--only", "parser", *words)


def slow_down(folder: Path) -> None:
    path = folder / PARSER
    text = path.read_text()
    if text.count(BEFORE) != 1:
        sys.exit(f"{PARSER} is not as this program knows it")
    path.write_text(text.replace(BEFORE, AFTER))
    compile_in(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, help="compare with this one, of this machine, and make none")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastgear-prove-") as name:
        folder = Path(name, "tree")
        copy_to(folder)
        baseline = Path(name, "baseline.json")
        if args.baseline is not None:
            shutil.copy(args.baseline, baseline)
        elif guard(folder, baseline, "--store") != 0:
            return 1
        as_it_is = guard(folder, baseline)
        slow_down(folder)
        slower = guard(folder, baseline)
    print(f"\nthe parser as it is: {'REPORTED' if as_it_is else 'not reported'}")
    print(f"the slower parser: {'reported' if slower else 'NOT REPORTED'}")
    return 0 if (as_it_is, slower) == (0, 1) else 1


if __name__ == "__main__":
    sys.exit(main())
