# SPDX-License-Identifier: MIT
"""build.py: the drivers, and libFuzzer's program around them, with clang. The package is built before (FASTGEAR_FUZZ=1)."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OUT = ROOT / "build" / "drivers-fuzz"
DRIVERS = ("check", "parse", "play")


def run(*command: str) -> None:
    environment = os.environ | {"FASTGEAR_FUZZ": "1", "CC": "clang", "LDSHARED": "clang -shared"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def build_program() -> None:
    library, folder = sysconfig.get_config_var("LDLIBRARY"), sysconfig.get_config_var("LIBDIR")
    python = [f"-L{folder}", f"-Wl,-rpath,{folder}", f"-lpython{sysconfig.get_config_var('LDVERSION')}"]
    if library.endswith(".a"):
        python[-1:] = [f"{sysconfig.get_config_var('LIBPL')}/{library}", *sysconfig.get_config_var("LIBS").split()]
    include = sysconfig.get_path("include")
    # All of it is exported: the modules have neither the sanitizers' library nor libFuzzer of their own.
    flags = ["-O1", "-g", "-fsanitize=address,undefined,fuzzer", "-rdynamic", f"-I{include}"]
    run("clang", *flags, str(HERE / "main.c"), "-o", str(OUT / "fuzz"), *python, "-lm", "-ldl", "-lpthread")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name in DRIVERS:
        run(sys.executable, "tests/ext/compile.py", f"tests/ext/_{name}_driver.pyx", str(OUT), "debug")
    build_program()


if __name__ == "__main__":
    main()
