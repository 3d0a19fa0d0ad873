# SPDX-License-Identifier: MIT
"""What an option is: its names outside, the values that it takes, and how text becomes one of them.

Knows no option by name, and not where a value came from; who reads a source says that in front of the complaint.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any

from fastgear.errors import ConfigError

__all__ = ["Option", "check_fields", "complaints_about", "option", "option_of", "options"]

_WHOLE = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LONG = 20  # characters; no number that makes sense has so many
_YES, _NO = ("1", "yes", "true", "on"), ("0", "no", "false", "off")
_NUMBERS = {"number": "whole number", "seconds": "number", "fraction": "number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What the outside calls a field, and the values that it takes.

    `kind` is number, seconds, fraction, text, switch, addresses or port. `also` are values beside the range from `low` to
    `high`, `rule` returns the complaint about a value or nothing. `without_effect` says why the option does nothing here,
    `refused` why a server that is given it does not start, unless its value is one of `tolerated`.
    """

    flags: tuple[str, ...]
    help: str
    kind: str = "number"
    metavar: str = ""
    low: float | None = None
    high: float | None = None
    also: tuple[int, ...] = ()
    choices: tuple[str, ...] = ()
    rule: Callable[[Any], str] | None = None
    other_env: tuple[str, ...] = ()
    without_effect: str = ""
    refused: str = ""
    tolerated: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As a configuration file has it: the first flag without its dashes."""
        return self.flags[0].lstrip("-")

    @property
    def env(self) -> str:
        return "FASTGEAR_" + self.name.replace("-", "_").upper()

    def read(self, text: str) -> Any:
        """The value that a text means. Raises ConfigError for one that means none."""
        if self.kind == "addresses":
            return tuple(address.strip() for address in text.split(",") if address.strip())
        if self.kind == "switch":
            if text.lower() not in _YES + _NO:
                raise ConfigError(f"{text!r} is neither yes nor no")
            return text.lower() in _YES
        if self.kind == "port":
            return int(text) if _WHOLE.fullmatch(text) and len(text) < _LONG else text
        return self._number(text) if self.kind in _NUMBERS else text

    def _number(self, text: str) -> float:
        try:
            if self.kind != "number":
                return float(text)
            if _WHOLE.fullmatch(text):
                return int(text)
        except ValueError:
            pass
        raise ConfigError(f"{text!r} is not a {_NUMBERS[self.kind]}")

    def take(self, value: Any) -> Any:
        """The value that a typed one of a configuration file means. Raises ConfigError for one of another type."""
        if self.kind == "addresses":
            listed = [value] if isinstance(value, str) else value
            if isinstance(listed, list) and all(isinstance(one, str) for one in listed):
                return tuple(listed)
            raise ConfigError(f"{value!r} is neither a text nor a list of texts")
        if self.kind == "switch" and not isinstance(value, bool):
            raise ConfigError(f"{value!r} is neither true nor false")
        if self.kind == "text" and not isinstance(value, str):
            raise ConfigError(f"{value!r} is no text; put it in quotes")
        return value

    def check(self, value: Any) -> None:
        """Raise ConfigError for a value that makes no sense."""
        if self.choices and value not in self.choices:
            raise ConfigError(f"{value!r} is not one of {', '.join(self.choices)}")
        if self.kind in _NUMBERS:
            self._check_number(value)
        elif self.kind == "port":
            _check_port(value)
        complaint = self.rule(value) if self.rule is not None else ""
        if complaint:
            raise ConfigError(complaint)

    def _check_number(self, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "number" else (int, float)):
            raise ConfigError(f"{value!r} is not a {_NUMBERS[self.kind]}")
        low, high = self.low, self.high
        if value in self.also or ((low is None or value >= low) and (high is None or value <= high)):
            return
        limit = f"from {low:,} to {high:,}" if high is not None else f"at least {low:,}"
        also = "".join(f", or {one}" for one in self.also)
        raise ConfigError(f"{value:,} is out of range; it is {limit}{also}")


def _check_port(value: Any) -> None:
    if isinstance(value, bool) or not (value or value == 0) or not isinstance(value, (int, str)):
        raise ConfigError(f"{value!r} is no port; it is a number from 0 to 65535, or a service's name")
    if isinstance(value, int) and not 0 <= value <= 65535:
        raise ConfigError(f"{value!r} is no port; it is a number from 0 to 65535")


def option(default: Any, flags: str, help: str, **more: Any) -> Any:
    """A field of a configuration. `flags` are separated by blanks, the name for files and the environment first."""
    return field(default=default, metadata={"option": Option(flags=tuple(flags.split()), help=help, **more)})


def option_of(config_field: Field[Any]) -> Option:
    found: Option = config_field.metadata["option"]
    return found


def options(kind: Any) -> Iterator[tuple[str, Option, Any]]:
    """Every option of a configuration: the field's name, its Option and its default."""
    for config_field in fields(kind):
        yield config_field.name, option_of(config_field), config_field.default


def check_fields(config: Any) -> None:
    """Raise ConfigError, naming the field, for a value that makes no sense; None is one that was not given."""
    for name, one, _ in options(config):
        value = getattr(config, name)
        if value is not None:
            with complaints_about(name):
                one.check(value)


@contextlib.contextmanager
def complaints_about(where: str) -> Iterator[None]:
    """Begin the text of a ConfigError with where the value was given."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    except ValueError:  # Python writes no numbers of thousands of digits
        raise ConfigError(f"{where}: the number is out of range") from None
