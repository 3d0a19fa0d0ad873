# SPDX-License-Identifier: MIT
"""Options of gearmand (1.1 and 2.0, in any of its builds) that do nothing here, or that fastgear cannot honour.

The first are accepted with a line in the log, so that a unit file needs no change. The others are refused: a server that
was told to speak TLS or to store jobs must not run without doing so. Those of its SQLite queue have a meaning: they
name fastgear's store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastgear.config.option import check_fields, option

__all__ = ["SQLITE", "GearmandConfig"]

_NO_STORE = "fastgear keeps jobs in memory, or in SQLite with --store FILE or --queue-type=libsqlite3; other stores are not there"
SQLITE = "libsqlite3"
_NOT_SQLITE = f"it takes effect with --queue-type={SQLITE} only"
_NO_TLS = "it takes effect with --ssl only, which fastgear does not have"


def _ignored(flags: str, why: str, kind: str = "number", **more: Any) -> Any:
    return option(None, flags, why, kind=kind, without_effect=why, **more)


def _refused(flags: str, why: str = _NO_STORE, kind: str = "text", **more: Any) -> Any:
    return option(None, flags, why, kind=kind, refused=why, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class GearmandConfig:
    """What was given of them; None is what was not."""

    threads: int | None = _ignored("--threads -t", "one thread serves all connections")
    hashtable_buckets: int | None = _ignored("--hashtable-buckets", "tables grow and shrink by themselves", low=1)
    round_robin: bool | None = _ignored("--round-robin -R", "a worker's functions always take turns", kind="switch")
    http_port: str | None = _ignored(
        "--http-port", "it belongs to --protocol=http, which fastgear does not have", kind="text"
    )
    libsqlite3_db: str | None = _ignored("--libsqlite3-db", _NOT_SQLITE, kind="text")
    store_queue_on_shutdown: bool | None = _ignored("--store-queue-on-shutdown", _NOT_SQLITE, kind="switch")
    ssl_ca_file: str | None = _ignored("--ssl-ca-file", _NO_TLS, kind="text", other_env=("GEARMAND_CA_CERTIFICATE",))
    ssl_certificate: str | None = _ignored(
        "--ssl-certificate", _NO_TLS, kind="text", other_env=("GEARMAND_SERVER_PEM",)
    )
    ssl_key: str | None = _ignored("--ssl-key", _NO_TLS, kind="text", other_env=("GEARMAND_SERVER_KEY",))

    protocol: str | None = _refused("--protocol -r", "fastgear speaks Gearman's own protocol only, and no HTTP")
    ssl: bool | None = _refused("--ssl", "fastgear does not speak TLS; put it behind a TLS proxy", kind="switch")
    queue_type: str | None = _refused(
        "--queue-type -q",
        tolerated=("builtin", "none", SQLITE),
        without_effect="jobs are kept in memory, as gearmand's builtin queue does",
    )
    libpq_conninfo: str | None = _refused("--libpq-conninfo")
    libpq_table: str | None = _refused("--libpq-table")
    redis_server: str | None = _refused("--redis-server")
    redis_port: str | None = _refused("--redis-port")
    redis_password: str | None = _refused("--redis-password")
    redis_prefix: str | None = _refused("--redis-prefix")
    libmemcached_servers: str | None = _refused("--libmemcached-servers")
    libmemcached_prefix: str | None = _refused("--libmemcached-prefix")
    mysql_host: str | None = _refused("--mysql-host")
    mysql_port: int | None = _refused("--mysql-port", kind="number")
    mysql_user: str | None = _refused("--mysql-user")
    mysql_password: str | None = _refused("--mysql-password")
    mysql_db: str | None = _refused("--mysql-db")
    mysql_table: str | None = _refused("--mysql-table")
    libdrizzle_host: str | None = _refused("--libdrizzle-host")
    libdrizzle_port: int | None = _refused("--libdrizzle-port", kind="number")
    libdrizzle_uds: str | None = _refused("--libdrizzle-uds")
    libdrizzle_user: str | None = _refused("--libdrizzle-user")
    libdrizzle_password: str | None = _refused("--libdrizzle-password")
    libdrizzle_db: str | None = _refused("--libdrizzle-db")
    libdrizzle_table: str | None = _refused("--libdrizzle-table")
    libdrizzle_mysql: bool | None = _refused("--libdrizzle-mysql", kind="switch")
    libtokyocabinet_file: str | None = _refused("--libtokyocabinet-file")
    libtokyocabinet_optimize: bool | None = _refused("--libtokyocabinet-optimize", kind="switch")

    def __post_init__(self) -> None:
        check_fields(self)
