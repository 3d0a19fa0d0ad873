"""Extension modules and build variants; everything else is in pyproject.toml.

Every ``.pyx`` below ``fastgear/`` is one extension module. Five switches, read from the environment:

FASTGEAR_DEBUG=1     fg_check aborts, allocations are counted, compiler warnings are errors
FASTGEAR_ASAN=1      AddressSanitizer and UndefinedBehaviorSanitizer (implies FASTGEAR_DEBUG)
FASTGEAR_TSAN=1      ThreadSanitizer (implies FASTGEAR_DEBUG)
FASTGEAR_FUZZ=1      the same with clang, and counters of edges for libFuzzer (implies FASTGEAR_DEBUG)
FASTGEAR_COVERAGE=1  gcc's counters of lines and branches, for `make cover` (implies FASTGEAR_DEBUG)
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent
DIRECTIVES = {"language_level": 3, "cdivision": True, "auto_pickle": False, "embedsignature": True}


def switched_on(name: str) -> bool:
    return os.environ.get(name, "0") not in ("", "0")


ASAN = switched_on("FASTGEAR_ASAN")
TSAN = switched_on("FASTGEAR_TSAN")
COVERAGE = switched_on("FASTGEAR_COVERAGE")
FUZZ = switched_on("FASTGEAR_FUZZ")
DEBUG = switched_on("FASTGEAR_DEBUG") or ASAN or TSAN or COVERAGE or FUZZ
# A member's place in its struct is taken from a NULL, which clang would report.
FUZZ_FLAGS = ["-fsanitize=address,undefined,fuzzer-no-link", "-fno-sanitize=null,object-size"]
FUZZ_FLAGS += ["-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined"]
# Unoptimized, or gcc would count after it has moved things.
COVERAGE_FLAGS = ["--coverage", "-fprofile-update=atomic", "-O0", "-include", "tests/cover/counters.h"]
NOBODYS = '#line 1 "cython"'
FUZZ_ROOMS = ("base", "protocol", "core")  # all that libFuzzer's program loads


def compiler_flags() -> tuple[list[str], list[str], list[tuple[str, str | None]]]:
    compile_args = ["-std=gnu11", "-fvisibility=hidden", "-fno-strict-aliasing"]
    # Each mapping is copied by every fork, and a pool forks: one for the code and what is constant, instead of three.
    link_args = ["-Wl,-z,noseparate-code"]
    macros: list[tuple[str, str | None]] = []
    if DEBUG:
        compile_args += ["-O1", "-g", "-UNDEBUG", "-Wall", "-Wextra", "-Wno-unused-parameter"]
        macros.append(("FG_DEBUG", "1"))
    else:
        compile_args += ["-O2", "-g1"]
    if ASAN:
        sanitize = "-fsanitize=address,undefined"
        # Lines are all that a report shows; to know variables as well takes gcc twice as long with what is added here.
        compile_args += [sanitize, "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined", "-g1"]
        link_args += [sanitize]
    if TSAN:
        compile_args += ["-fsanitize=thread", "-fno-omit-frame-pointer", "-g1"]
        link_args += ["-fsanitize=thread"]
    if FUZZ:  # whoever loads it brings the sanitizers' library and libFuzzer
        compile_args += FUZZ_FLAGS
    if COVERAGE:
        compile_args += COVERAGE_FLAGS
        link_args += ["--coverage"]
    return compile_args, link_args, macros


def extensions() -> list[Extension]:
    compile_args, link_args, macros = compiler_flags()
    return [
        Extension(
            ".".join(path.relative_to(ROOT).with_suffix("").parts),
            [str(path.relative_to(ROOT))],
            include_dirs=["fastgear/base", "fastgear/pool"],
            depends=sorted(str(header.relative_to(ROOT)) for header in ROOT.glob("fastgear/*/*.h")),
            define_macros=macros,
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
        for path in sorted(ROOT.glob("fastgear/**/*.pyx"))
        if not FUZZ or path.parent.name in FUZZ_ROOMS
    ]


def own_lines_only(modules: list[Extension]) -> list[Extension]:
    """Cython says of the first line of C that it makes from a statement where that is from, and the compiler counts on from there:
    into lines that the rest is not from. So each line says it, and where Cython's own code begins, that it is nobody's."""
    for module in modules:
        source = Path(module.sources[0])
        before = source.read_text()
        said, lines = "", [""]
        for line in before.splitlines():
            if line == NOBODYS:
                continue
            if line.startswith("#line"):
                said = line
            elif said and line and lines[-1] != said and not lines[-1].endswith("\\"):
                lines.append(said)
            lines.append(line)
            if line.startswith("/* #### Code section"):
                lines.append(NOBODYS)
                said = ""
        text = "\n".join(lines[1:]) + "\n"
        if text != before:
            source.write_text(text)
    return modules


def c_sources() -> list[Extension]:
    modules: list[Extension] = cythonize(
        extensions(),
        build_dir="build/cython-cover" if COVERAGE else "build/cython",  # the same C for all others
        compiler_directives=DIRECTIVES,
        emit_linenums=COVERAGE,
        nthreads=os.cpu_count() or 1,
    )
    return own_lines_only(modules) if COVERAGE else modules


if __name__ == "__main__":  # benchmarks/guards reads the flags from here
    setup(
        ext_modules=c_sources(),
        options={"build_ext": {"parallel": os.cpu_count() or 1}},
    )
