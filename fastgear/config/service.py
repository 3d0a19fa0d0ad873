# SPDX-License-Identifier: MIT
"""The options of ``fastgear serve`` as a process of its own: where it logs, who it is, how it is told apart."""

from __future__ import annotations

from dataclasses import dataclass

from fastgear.config.option import check_fields, option

__all__ = ["ServiceConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """How a server runs as a process. Raises ConfigError, naming the field, for a value that makes no sense."""

    config_file: str = option(
        "",
        "--config-file",
        "read options from this file: TOML with these names, or words as on the command line",
        kind="text",
        metavar="FILE",
    )
    check_args: bool = option(
        False, "--check-args --check-config", "check all options, and start nothing", kind="switch"
    )
    port: int | str = option(
        4730,
        "--port -p",
        "the port, or the service's name, of --listen addresses that name none",
        kind="port",
        metavar="PORT",
        other_env=("GEARMAND_PORT",),
    )
    target: str = option(
        "",
        "--import",
        "run these functions in worker processes, as fastgear worker does",
        kind="text",
        metavar="MODULE[:NAME]",
    )
    daemon: bool = option(False, "--daemon -d", "detach, and return once the server serves", kind="switch")
    pid_file: str = option(
        "",
        "--pid-file -P",
        "write the process id here once the server serves, and remove it at the end",
        kind="text",
        metavar="FILE",
    )
    log_file: str = option(
        "stderr",
        "--log-file -l",
        "where the log goes: a file, which SIGHUP opens anew, stderr or none",
        kind="text",
        metavar="FILE",
    )
    syslog: bool = option(
        False, "--syslog", "log to the system's log; to a file too if --log-file says so", kind="switch"
    )
    user: str = option("", "--user -u", "become this user first; for root only", kind="text", metavar="NAME")
    file_descriptors: int = option(
        0,
        "--file-descriptors -f",
        "descriptors that the server may have, one for each connection; 0: as many as the system allows",
        low=0,
        high=2**31 - 1,
    )
    coredump: bool = option(
        False,
        "--coredump",
        "let a crash leave a core file as large as the system allows, as another user too",
        kind="switch",
    )

    def __post_init__(self) -> None:
        check_fields(self)
