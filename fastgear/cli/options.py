# SPDX-License-Identifier: MIT
"""From the fields of a configuration to flags and environment names, and back to the values that were given."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from fastgear.config import Option, ServerConfig, SupervisorConfig, options
from fastgear.errors import ConfigError

__all__ = ["add_options", "given_options"]

Kind = type[ServerConfig] | type[SupervisorConfig]


def add_options(parser: argparse._ActionsContainer, kind: Kind, **defaults: str) -> None:
    """Add all of a configuration's flags; `defaults` are words for those that the command sets by itself."""
    for name, option, default in options(kind):
        _add_option(parser, name, option, defaults.get(name, default))


def given_options(args: argparse.Namespace, environment: Mapping[str, str], kind: Kind) -> dict[str, Any]:
    """What was given: the command line's options, then the environment's; the rest is left to the defaults."""
    values: dict[str, Any] = {}
    for name, option, _ in options(kind):
        given = getattr(args, name)
        if given is None and option.env in environment:
            given = _from_environment(option, environment[option.env])
        if given is not None:
            values[name] = tuple(given) if option.kind == "addresses" else given
    return values


def _add_option(parser: argparse._ActionsContainer, name: str, option: Option, default: Any) -> None:
    shown = ", ".join(default) if isinstance(default, tuple) else default
    if isinstance(default, float):
        shown = f"{default:g}"
    text = f"{option.help} (default: {'none' if shown == '' else shown})".replace("%", "%%")
    if option.kind == "switch":
        parser.add_argument(*option.flags, dest=name, action=argparse.BooleanOptionalAction, default=None, help=text)
    elif option.kind == "addresses":
        parser.add_argument(*option.flags, dest=name, action="append", metavar="ADDRESS", help=text)
    elif option.kind == "number":
        parser.add_argument(*option.flags, dest=name, type=int, metavar="N", help=text)
    elif option.kind in ("seconds", "fraction"):
        parser.add_argument(*option.flags, dest=name, type=float, metavar=option.kind.upper(), help=text)
    else:
        parser.add_argument(*option.flags, dest=name, choices=option.choices or None, metavar="TEXT", help=text)


def _from_environment(option: Option, text: str) -> Any:
    if option.kind == "addresses":
        return [address.strip() for address in text.split(",") if address.strip()]
    if option.kind == "switch":
        if text.lower() not in ("1", "yes", "true", "on", "0", "no", "false", "off"):
            raise ConfigError(f"{option.env}: {text!r} is neither yes nor no")
        return text.lower() in ("1", "yes", "true", "on")
    if option.kind in ("number", "seconds", "fraction"):
        try:
            return int(text) if option.kind == "number" else float(text)
        except ValueError:
            what = "whole number" if option.kind == "number" else "number"
            raise ConfigError(f"{option.env}: {text!r} is not a {what}") from None
    return text
