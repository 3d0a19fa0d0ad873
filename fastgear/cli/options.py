# SPDX-License-Identifier: MIT
"""From the fields of a configuration to flags and environment names, and back to the values that were given.

A flag is taken as gearmand's parser takes it: whole names only, ``--name value`` or ``--name=value``, once.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastgear.config import Option, complaints_about, options
from fastgear.errors import ConfigError

__all__ = ["Given", "add_options", "gather", "given_options"]

_METAVARS = {"number": "N", "seconds": "SECONDS", "fraction": "FRACTION", "addresses": "ADDRESS"}


@dataclass(frozen=True, slots=True)
class Given:
    """A value, and where it was given, as a complaint begins: a flag, a name of the environment, a line of a file."""

    value: Any
    where: str


def add_options(parser: argparse._ActionsContainer, kind: Any, **defaults: str) -> None:
    """Add all of a configuration's flags; `defaults` are words for those that the command sets by itself."""
    for name, option, default in options(kind):
        _add_option(parser, name, option, defaults.get(name, default))


def given_options(args: argparse.Namespace, environment: Mapping[str, str], kind: Any) -> dict[str, Any]:
    """What was given of one configuration: the command line's options, then the environment's."""
    return {name: given.value for name, given in gather(args, environment, {}, kind).items()}


def gather(
    args: argparse.Namespace, environment: Mapping[str, str], file: Mapping[str, Given], kind: Any
) -> dict[str, Given]:
    """What was given: the command line's options, then the environment's, then a file's; the rest is left to the defaults.

    Raises ConfigError, saying where, for a value that makes no sense.
    """
    found: dict[str, Given] = {}
    for name, option, _ in options(kind):
        given = _from_flag(args, name, option) or _from_environment(environment, option) or file.get(name)
        if given is not None:
            check(option, given)
            found[name] = given
    return found


def check(option: Option, given: Given) -> None:
    """Raise ConfigError, saying where, for a value that makes no sense."""
    with complaints_about(given.where):
        option.check(given.value)


def _from_flag(args: argparse.Namespace, name: str, option: Option) -> Given | None:
    value = getattr(args, name)
    if value is None:
        return None
    return Given(tuple(value) if option.kind == "addresses" else value, option.flags[0])


def _from_environment(environment: Mapping[str, str], option: Option) -> Given | None:
    for variable in (option.env, *option.other_env):
        if variable in environment:
            with complaints_about(variable):
                return Given(option.read(environment[variable]), variable)
    return None


# -- flags ------------------------------------------------------------------------------------------------------------


def _add_option(parser: argparse._ActionsContainer, name: str, option: Option, default: Any) -> None:
    shown = ", ".join(default) if isinstance(default, tuple) else default
    if isinstance(default, float):
        shown = f"{default:g}"
    text = option.help + ("" if shown is None else f" (default: {'none' if shown == '' else shown})")
    text = argparse.SUPPRESS if option.refused else text.replace("%", "%%")
    if option.kind == "switch":
        parser.add_argument(*option.flags, dest=name, action=_Switch, default=None, help=text)
        return
    parser.add_argument(
        *option.flags,
        dest=name,
        action="append" if option.kind == "addresses" else _Once,
        type=_reader(option),
        metavar=option.metavar or "|".join(option.choices) or _METAVARS.get(option.kind, "TEXT"),
        help=text,
    )


def _reader(option: Option) -> Any:
    """What argparse calls for the value of a flag."""

    def read(text: str) -> Any:
        if not text:
            raise argparse.ArgumentTypeError("a value is missing")
        try:
            return text if option.kind == "addresses" else option.read(text)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _refuse_second(action: argparse.Action, namespace: argparse.Namespace) -> None:
    if getattr(namespace, action.dest, None) is not None:
        raise argparse.ArgumentError(action, "cannot be given more than once")


class _Once(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, flag: str | None = None
    ) -> None:
        _refuse_second(self, namespace)
        setattr(namespace, self.dest, values)


class _Switch(argparse.BooleanOptionalAction):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, flag: str | None = None
    ) -> None:
        _refuse_second(self, namespace)
        super().__call__(parser, namespace, values, flag)
