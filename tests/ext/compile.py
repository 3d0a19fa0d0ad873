# SPDX-License-Identifier: MIT
"""compile.py SOURCE FOLDER debug|release: one driver. Run by build.py from the root of the repository."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Distribution, Extension

source, folder, variant = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
flags = ["-O1", "-g", "-std=gnu11", "-fno-strict-aliasing"]
link = []
if os.environ.get("FASTGEAR_ASAN") == "1":
    flags += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined", "-g1"]
    link = ["-fsanitize=address,undefined"]
COVERAGE = os.environ.get("FASTGEAR_COVERAGE") == "1"
if COVERAGE:  # inline functions of the package are compiled into the drivers too
    flags += ["--coverage", "-fprofile-update=atomic", "-O0"]
    link = ["--coverage"]
if os.environ.get("FASTGEAR_FUZZ") == "1":
    flags += ["-fsanitize=address,undefined", "-fno-sanitize=null,object-size", "-fno-omit-frame-pointer"]
    flags += ["-fno-sanitize-recover=undefined"]
    if source.stem != "_check_driver":  # where that goes is of no interest
        flags += ["-fsanitize=fuzzer-no-link"]
extension = Extension(
    source.stem,
    [os.path.relpath(source)],
    include_dirs=["fastgear/base"],
    define_macros=[("FG_DEBUG", "1")] if variant == "debug" else [],
    extra_compile_args=flags,
    extra_link_args=link,
)
modules = cythonize(
    [extension],
    build_dir=str(folder / "c"),
    include_path=[os.getcwd(), str(source.parent)],
    compiler_directives={"language_level": 3, "cdivision": True},
    emit_linenums=COVERAGE,
    quiet=True,
    force=True,
)
if COVERAGE:
    sys.path.insert(0, os.getcwd())
    from setup import own_lines_only

    own_lines_only(modules)
distribution = Distribution({"name": "drivers", "ext_modules": modules})
command = distribution.get_command_obj("build_ext")
command.build_lib = str(folder)
command.build_temp = str(folder / "o")
command.ensure_finalized()
command.run()
