"""Extension modules and build variants; everything else is in pyproject.toml.

Every ``.pyx`` below ``fastgear/`` is one extension module. Five switches, read from the environment:

FASTGEAR_DEBUG=1     fg_check aborts, allocations are counted, compiler warnings are errors
FASTGEAR_ASAN=1      AddressSanitizer and UndefinedBehaviorSanitizer (implies FASTGEAR_DEBUG)
FASTGEAR_TSAN=1      ThreadSanitizer (implies FASTGEAR_DEBUG)
FASTGEAR_FUZZ=1      the same with clang, and counters of edges for libFuzzer (implies FASTGEAR_DEBUG)
FASTGEAR_COVERAGE=1  line tracing for coverage.py's Cython plug-in (implies FASTGEAR_DEBUG)
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
        macros += [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1")]
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


def trace_lines_only(modules: list[Extension]) -> list[Extension]:
    """Line tracing also shows the tracer what each function returns, as a Python object, and so takes any pointer to bytes
    for a string: what is not ended by a NUL, or is NULL, must not get there. The tracer gets None instead."""
    for module in modules:
        source = Path(module.sources[0])
        text = source.read_text()
        source.write_text(text.replace("pyvalue = convert_function(cresult);", "pyvalue = Py_NewRef(Py_None);"))
    return modules


def c_sources() -> list[Extension]:
    modules: list[Extension] = cythonize(
        extensions(),
        build_dir="build/cython-cover" if COVERAGE else "build/cython",  # the same C for all that are not traced
        compiler_directives=DIRECTIVES | ({"linetrace": True} if COVERAGE else {}),
        emit_linenums=COVERAGE,
        nthreads=os.cpu_count() or 1,
    )
    return trace_lines_only(modules) if COVERAGE else modules


if __name__ == "__main__":  # benchmarks/guards reads the flags from here
    setup(
        ext_modules=c_sources(),
        options={"build_ext": {"parallel": os.cpu_count() or 1}},
    )
