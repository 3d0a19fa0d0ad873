# SPDX-License-Identifier: MIT
"""The rooms of the package and the arrows between them; and what is read off the sources beside."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "fastgear"
# Open to all: names, errors, options and plain helpers, which know no room.
OPEN = {
    "errors", "types", "config", "addresses", "servers", "sockets", "stream", "aiostream", "cpus", "threads", "progress", "version",
}  # fmt: skip
ALLOWED = {
    "base": set(),
    "protocol": {"base"},
    "core": {"base", "protocol"},
    "server": {"base", "protocol", "core", "storage"},
    "client": {"protocol"},
    "worker": {"protocol"},
    "admin": {"protocol"},
    "supervisor": set(),
    "service": set(),
    "storage": set(),
    "config": set(),
    "pool": {"base", "protocol", "server", "supervisor"},
    "testing": {"protocol", "server"},
    "bench": {"base", "protocol"},
    "cli": {"bench", "protocol", "server", "client", "worker", "admin", "supervisor", "pool", "service", "storage"},
}
CIMPORT = re.compile(r"^\s*from (fastgear[\w.]*) c?import |^\s*c?import (fastgear[\w.]*)", re.MULTILINE)


def sources(*suffixes: str) -> list[Path]:
    return sorted(path for suffix in suffixes for path in PACKAGE.rglob(f"*{suffix}"))


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[str]:
    text = path.read_text()
    if path.suffix != ".py":
        yield from (found[1] or found[2] for found in CIMPORT.finditer(text))
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", sources(".py", ".pyx", ".pxd"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path: Path) -> None:
    room, *rest = path.relative_to(PACKAGE).parts
    for module in imports(path):
        if not module.startswith("fastgear"):
            continue
        to = room_of(module)
        if rest and room != to and to not in OPEN:
            assert to in ALLOWED[room], f"{room} must not know {module}"
        if not rest and room.removesuffix(".py") in OPEN:
            assert to in OPEN, f"{room} is open to all and must know no room, yet it imports {module}"


def test_the_rooms_are_those_that_are_named_here() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ALLOWED)
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__", "aio"}
    assert modules | {"config"} == OPEN  # which is a folder


SOCKETS_AND_CLOCKS = re.compile(r"\b(socket|time|select|selectors|posix\.time|libc\.time)\b")


@pytest.mark.parametrize("room", ["base", "protocol", "core"])
def test_base_protocol_and_core_know_no_sockets_and_no_clock(room: str) -> None:
    for path in sources(".pyx", ".pxd", ".py"):
        for line in path.read_text().splitlines() if path.parent.name == room else ():
            if re.match(r"\s*(from \S+ c?import|c?import) ", line):
                assert not SOCKETS_AND_CLOCKS.search(line), f"{path.name}: {line}"


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's name and its length in lines, from its first line to its last."""
    lines = path.read_text().splitlines()
    for start, line in enumerate(lines):
        found = re.match(r"( *)(?:cdef|cpdef|def|async def) .*?(\w+)\(", line)
        if not found or " class " in line or (path.suffix != ".py" and not re.search(r"\b(cdef|cpdef|def)\b", line)):
            continue
        head = start
        while not re.search(r":\s*(#.*)?$", lines[head]) and head + 1 < len(lines) and head - start < 12:
            head += 1
        if not re.search(r":\s*(#.*)?$", lines[head]):
            continue  # a declaration without a body
        indent, end = len(found[1]), head
        for number in range(head + 1, len(lines)):
            text = lines[number]
            if text.strip() and len(text) - len(text.lstrip()) <= indent:
                break
            if text.strip():
                end = number
        yield found[2], end - start + 1


def test_functions_and_modules_stay_short() -> None:
    sizes = [(path.name, name, size) for path in sources(".py", ".pyx") for name, size in functions(path)]
    assert len(sizes) > 400
    # one flat switch over all packet types, a call in each branch, may be as long as it must
    assert not [one for one in sizes if one[2] > 60 and one[:2] != ("dispatch.pyx", "dispatch")]
    assert not [path for path in sources(".py", ".pyx", ".pxd") if len(path.read_text().splitlines()) > 600]


NOGIL = re.compile(r"^(?:cdef|cpdef) [^\n]*?\b(\w+)\((?:[^)]*)\)[^\n]*nogil:\n((?:(?:    .*)?\n)+)", re.MULTILINE)


def test_code_without_the_gil_neither_raises_nor_takes_it() -> None:
    seen = 0
    for path in sources(".pyx", ".pxd"):
        text = path.read_text()
        assert not re.search(r"^include ", text, re.MULTILINE), f"{path}: cimport, never include"
        assert not re.search(r"except \*[^\n]*nogil", text), f"{path}: takes the GIL after every call"
        for name, body in NOGIL.findall(text):
            seen += 1
            assert not re.search(r"^\s*(raise|assert|with gil)\b", body, re.MULTILINE), f"{path.name}: {name}"
    assert seen > 150


def test_every_source_says_its_licence() -> None:
    for path in sources(".py", ".pyx", ".pxd", ".h"):
        assert "SPDX-License-Identifier: MIT" in "".join(path.read_text().splitlines(keepends=True)[:2]), path
