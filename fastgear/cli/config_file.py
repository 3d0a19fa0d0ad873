# SPDX-License-Identifier: MIT
"""A configuration file, in one of two formats, and the line of each value in it.

A file whose first word begins with a dash has words as on the command line, which is gearmand's format; any other is TOML,
whose keys are the options' names. In both ``#`` begins a comment.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fastgear.cli.common import Parser, UsageError
from fastgear.cli.options import Given
from fastgear.config import complaints_about, options
from fastgear.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["read_file"]

_WORD = re.compile(r"#.*|\S+")


def read_file(path: str, kinds: Sequence[Any], make_parser: Callable[[], Parser]) -> dict[str, Given]:
    """The values that a file gives to the fields of these configurations. `make_parser` makes one that takes their flags.

    Raises ConfigError, saying which file and line, for one that cannot be read, or says what makes no sense.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"--config-file: {path} cannot be read: {reason}") from None
    words = list(_words(text))
    if words and words[0][0].startswith("-"):
        return _read_words(path, words, kinds, make_parser())
    return _read_toml(path, text, kinds)


def _refuse_further_file(name: str, where: str) -> None:
    if name == "config_file":
        raise ConfigError(f"{where}: a configuration file cannot name another one")


# -- TOML -------------------------------------------------------------------------------------------------------------


def _read_toml(path: str, text: str, kinds: Sequence[Any]) -> dict[str, Given]:
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number too long for Python, or brackets too deep for it
        raise ConfigError(f"{path}: {error}") from None
    known = {option.name: (name, option) for kind in kinds for name, option, _ in options(kind)}
    values: dict[str, Given] = {}
    for key, value in found.items():
        where = f"{path}, line {_line_of(key, text)}: {key}"
        if key not in known:
            raise ConfigError(f"{where}: there is no such option{_similar(key, known)}")
        name, option = known[key]
        _refuse_further_file(name, where)
        with complaints_about(where):
            values[name] = Given(option.take(value), where)
    return values


def _line_of(key: str, text: str) -> int:
    """Where a key of the top level is, which the TOML parser does not say."""
    pattern = re.compile(rf"""\s*\[?\s*["']?{re.escape(key)}["']?\s*[=.\]]""")
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if pattern.match(line)), 1)


def _similar(key: str, known: dict[str, Any]) -> str:
    close = difflib.get_close_matches(key.replace("_", "-"), known, 1, 0.75)
    return f"; is {close[0]} meant?" if close else ""


# -- words as on the command line -------------------------------------------------------------------------------------


def _words(text: str) -> Iterator[tuple[str, int]]:
    """Words that are separated by blanks, with the lines that they are in, and no comments."""
    for number, line in enumerate(text.splitlines(), 1):
        for word in _WORD.findall(line):
            if not word.startswith("#"):
                yield word, number


def _read_words(path: str, words: list[tuple[str, int]], kinds: Sequence[Any], parser: Parser) -> dict[str, Given]:
    """Option by option, so that a complaint can tell the line."""
    args = parser.parse_all([])
    lines: dict[str, int] = {}
    for group in _options(words):
        before = dict(vars(args))
        line = group[0][1]
        try:
            parser.parse_all([word for word, _ in group], args)
        except UsageError as error:
            line = next(
                (line for word, line in group if f"option {word!r}" in str(error)), line
            )  # it may be further down
            raise ConfigError(f"{path}, line {line}: {error}") from None
        lines |= {name: line for name, value in vars(args).items() if value != before[name]}
    values: dict[str, Given] = {}
    for name, option in ((name, option) for kind in kinds for name, option, _ in options(kind) if name in lines):
        where = f"{path}, line {lines[name]}: {option.flags[0]}"
        _refuse_further_file(name, where)
        value = getattr(args, name)
        values[name] = Given(tuple(value) if option.kind == "addresses" else value, where)
    return values


def _options(words: list[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    """The words, and their lines, from one that begins with a dash to the next; a negative number is a value."""
    group: list[tuple[str, int]] = []
    for word, line in words:
        if group and word.startswith("-") and not re.fullmatch(r"-[0-9]+", word):
            yield group
            group = []
        group.append((word, line))
    if group:
        yield group
