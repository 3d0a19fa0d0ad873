# SPDX-License-Identifier: MIT
"""All that ``fastgear serve`` was told, from its command line, the environment and a file, in this order of precedence."""

from __future__ import annotations

import argparse
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastgear.cli.common import CommandError, Parser
from fastgear.cli.config_file import read_file
from fastgear.cli.options import Given, add_options, check, gather
from fastgear.config import ServerConfig, SupervisorConfig, options
from fastgear.config.gearmand import SQLITE, GearmandConfig
from fastgear.config.service import ServiceConfig
from fastgear.errors import ConfigError
from fastgear.server.listen import split_host_port, unix_path

__all__ = ["KINDS", "Settings", "add_settings", "read_settings"]

KINDS = {
    ServerConfig: "the job server",
    ServiceConfig: "its process",
    SupervisorConfig: "worker processes",
    GearmandConfig: "options of gearmand's that have no effect",
}
_OF_STORE = ("durability", "store_table", "store_memory", "dead_after")
_OF_SQLITE = ("queue_type", "libsqlite3_db", "store_queue_on_shutdown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was told, checked. `remarks` are sentences about what has no effect here, or another than somebody may expect.

    `listens` says whether addresses were given, or are the default; `given` is each option that was, and where.
    """

    server: ServerConfig
    service: ServiceConfig
    supervisor: SupervisorConfig
    listens: bool
    remarks: tuple[str, ...]
    given: Mapping[str, Given]


def add_settings(parser: argparse.ArgumentParser) -> None:
    for kind, title in KINDS.items():
        add_options(parser.add_argument_group(title), kind)


def read_settings(args: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Raises ConfigError for what makes no sense, and CommandError for what gearmand can do and fastgear cannot."""
    file = _read_file(gather(args, environment, {}, ServiceConfig).get("config_file"))
    given = {kind: gather(args, environment, file, kind) for kind in KINDS}
    listens = "listen" in given[ServerConfig]
    remarks = _remarks(given[GearmandConfig]) + _job_retries_remark(given[ServerConfig])
    service = ServiceConfig(**_values(given[ServiceConfig]))
    server = ServerConfig(**_store(given) | _values(given[ServerConfig]))
    supervisor = SupervisorConfig(**_values(given[SupervisorConfig]))
    if not server.store:
        remarks += _no_store_remarks(given[ServerConfig])
    if not service.target and (args.workers is not None or "workers" in file):
        raise ConfigError(f"{given[SupervisorConfig]['workers'].where}: say what they are to run, with --import MODULE")
    return Settings(
        server=replace(server, listen=_listen(given, service.port)),
        service=service,
        supervisor=supervisor,
        listens=listens,
        remarks=remarks,
        given={name: one for found in given.values() for name, one in found.items()},
    )


def _values(given: Mapping[str, Given]) -> dict[str, Any]:
    return {name: one.value for name, one in given.items()}


def _read_file(path: Given | None) -> dict[str, Given]:
    if path is None or not path.value:
        return {}
    file = read_file(path.value, list(KINDS), _file_parser)
    for kind in KINDS:
        for name, option, _ in options(kind):
            if name in file:
                check(option, file[name])  # also where something else will take precedence
    return file


def _file_parser() -> Parser:
    parser = Parser(add_help=False)
    add_settings(parser)
    return parser


# -- gearmand's options that are not ours -----------------------------------------------------------------------------


def _remarks(given: Mapping[str, Given]) -> tuple[str, ...]:
    """Raises CommandError, whose exit code is gearmand's, for an option that must not be passed over."""
    found = []
    for name, option, _ in options(GearmandConfig):
        if name not in given or given[name].value is False or (_is_sqlite(given) and name in _OF_SQLITE):
            continue
        value, where = given[name].value, given[name].where
        if option.refused and not (isinstance(value, str) and value.lower() in option.tolerated):
            raise CommandError(f"{where}: {option.refused}")
        found.append(f"{where} has no effect: {option.without_effect}")
    return tuple(found)


def _is_sqlite(given: Mapping[str, Given]) -> bool:
    return "queue_type" in given and str(given["queue_type"].value).lower() == SQLITE


def _store(given: Mapping[Any, Mapping[str, Given]]) -> dict[str, Any]:
    """What gearmand's SQLite queue is called here. Raises ConfigError where it is not said which, or said twice."""
    asked = given[GearmandConfig]
    if not _is_sqlite(asked):
        return {}
    if "libsqlite3_db" not in asked:
        raise ConfigError(f"{asked['queue_type'].where}: say which file, with --libsqlite3-db FILE")
    if "store" in given[ServerConfig]:
        raise ConfigError(
            f"{asked['libsqlite3_db'].where}: the store is already named by {given[ServerConfig]['store'].where}"
        )
    on_shutdown = "store_queue_on_shutdown" in asked and asked["store_queue_on_shutdown"].value
    return {"store": asked["libsqlite3_db"].value} | ({"durability": "on-shutdown"} if on_shutdown else {})


def _job_retries_remark(given: Mapping[str, Given]) -> tuple[str, ...]:
    if "job_retries" not in given or given["job_retries"].value != 0:
        return ()
    where = given["job_retries"].where
    return (f"{where}: 0 is no second try, as in gearmand 2.0; what it is in gearmand 1.1, no limit, is -1 here",)


def _no_store_remarks(given: Mapping[str, Given]) -> tuple[str, ...]:
    """Whoever says how jobs are to be stored may believe that they are."""
    found = [given[name].where for name in _OF_STORE if name in given]
    return tuple(f"{where} has no effect without --store: no job is stored" for where in found)


# -- addresses --------------------------------------------------------------------------------------------------------


def _listen(given: Mapping[Any, Mapping[str, Given]], port: int | str) -> tuple[str, ...]:
    """The addresses, each with a port. Raises ConfigError for one that is none."""
    number = _port_number(given[ServiceConfig].get("port", Given(port, "--port")))
    listen = given[ServerConfig].get("listen", Given(("127.0.0.1",), "--listen"))
    if "" in listen.value:
        raise ConfigError(f"{listen.where}: an address is empty; every interface is :{number}")
    addresses = tuple(_with_port(address, number) for address in listen.value)
    for address in addresses:
        if address.startswith("unix:"):
            unix_path(address)
        elif not address.startswith("fd:"):
            split_host_port(address)
    return addresses


def _port_number(port: Given) -> int:
    """Services have names, such as gearman."""
    if isinstance(port.value, int):
        return port.value
    try:
        return socket.getservbyname(port.value, "tcp")
    except OSError:
        raise ConfigError(f"{port.where}: {port.value!r} is no port and no service's name") from None


def _with_port(address: str, port: int) -> str:
    """An address that names no port of its own gets this one."""
    if address.startswith(("unix:", "fd:")):
        return address
    if _is_ipv6(address):
        return f"[{address}]:{port}"
    return address if ":" in address and not address.endswith("]") else f"{address}:{port}"


def _is_ipv6(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 6
    except ValueError:
        return False
