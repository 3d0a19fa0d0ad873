# SPDX-License-Identifier: MIT
"""docs/options.md, made of the configurations: ``python -m fastgear.config.table > docs/options.md``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastgear.config.gearmand import GearmandConfig
from fastgear.config.option import Option, options
from fastgear.config.server import ServerConfig
from fastgear.config.service import ServiceConfig
from fastgear.config.supervisor import SupervisorConfig

__all__ = ["options_page"]

_HEAD = """\
# The options of `fastgear serve`

Made by `python -m fastgear.config.table > docs/options.md`; a test tells when that is due.

Each option may be given on the command line, in the environment, or in the file that `--config-file` names, and counts in
this order. In the environment it is called `FASTGEAR_` and its name in capitals with `_` for `-`, such as
`FASTGEAR_JOB_RETRIES`; other names that are read are in the table. Lists have commas there. In the file the key is the name
without dashes:

```toml
listen = ["127.0.0.1:4730", "unix:/run/fastgear/socket"]
job-retries = 3
keepalive = true
```

A file whose first word begins with a dash is read in gearmand's format: words as on the command line, separated by blanks and line
ends, without quotes. In both formats `#` begins a comment. Switches have a `--no-` form, such as `--no-keepalive`.
"""


def options_page() -> str:
    """The whole page, in Markdown."""
    parts = [
        _HEAD,
        "## The job server\n\nIn a program these are the fields of `ServerConfig`.\n",
        _table(ServerConfig),
        "## Its process\n",
        _table(ServiceConfig),
        "## Worker processes\n\n`fastgear worker` takes these as well.\n",
        _table(SupervisorConfig),
        "## Options of gearmand's without effect\n\nThey are accepted, and the log says why nothing follows.\n",
        _plain_table("why", ((option, option.without_effect) for option in _gearmand() if option.without_effect)),
        "## Options of gearmand's that are refused\n\nThe server says so and does not start; the exit code is 1, as gearmand's.\n",
        _plain_table("why", ((option, _refusal(option)) for option in _gearmand() if option.refused)),
    ]
    return "\n".join(parts)


def _gearmand() -> Iterator[Option]:
    return (option for _, option, _ in options(GearmandConfig))


def _refusal(option: Option) -> str:
    unless = f"; fine are {' and '.join(f'`{value}`' for value in option.tolerated)}" if option.tolerated else ""
    return option.refused + unless


def _table(kind: Any) -> str:
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for _, option, default in options(kind):
        rows.append(f"| {_flags(option)} | {_shown(default)} | {_meaning(option)} |")
    return "\n".join(rows) + "\n"


def _plain_table(title: str, cells: Iterator[tuple[Option, str]]) -> str:
    rows = [f"| option | {title} |", "|---|---|"]
    rows += [f"| {_flags(option)} | {text} |" for option, text in cells]
    return "\n".join(rows) + "\n"


def _flags(option: Option) -> str:
    flags = ", ".join(f"`{flag}`" for flag in option.flags)
    return flags + "".join(f", or `{name}` in the environment" for name in option.other_env)


def _meaning(option: Option) -> str:
    text = option.help
    if option.choices:
        text += f" ({', '.join(f'`{choice}`' for choice in option.choices)})"
    return text.replace("|", "\\|").replace("<", "&lt;")


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        default = ", ".join(default)
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`" if default != "" else ""


if __name__ == "__main__":
    print(options_page(), end="")
