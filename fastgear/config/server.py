# SPDX-License-Identifier: MIT
"""The options of a job server, wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass

from fastgear.config.option import check_fields, option

__all__ = ["VERBOSE", "ServerConfig"]

MIB = 1024 * 1024
VERBOSE = (
    "FATAL",
    "ALERT",
    "CRITICAL",
    "ERROR",
    "WARNING",
    "NOTICE",
    "INFO",
    "DEBUG",
)  # in the order of syslog's numbers


def _listen_rule(listen: tuple[str, ...]) -> str:
    return "" if listen else "a server needs at least one address"


def _prefix_rule(prefix: str) -> str:
    if not prefix.isprintable() or len(prefix.encode()) > 41 or any(character < "!" for character in prefix):
        return "at most 41 bytes, without blanks and control characters"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """The options of a server. Raises ConfigError, naming the field, for a value that makes no sense."""

    listen: tuple[str, ...] = option(
        ("127.0.0.1:4730",),
        "--listen -L",
        "where to listen: host:port, [ipv6]:port, :port (every interface), unix:/path or fd:N; may be given several times",
        kind="addresses",
        rule=_listen_rule,
    )
    backlog: int = option(1024, "--backlog -b", "connections that may wait to be accepted", low=1, high=2**31 - 1)
    handle_prefix: str = option(
        "",
        "--job-handle-prefix",
        "the beginning of job handles, instead of H:<hostname>",
        kind="text",
        rule=_prefix_rule,
    )
    job_retries: int = option(
        -1,
        "--job-retries -j",
        "how often a job that lost its worker is given out before it fails; -1: without limit",
        low=-1,
        high=65535,
    )
    timeout_policy: str = option(
        "requeue",
        "--timeout-policy",
        "what the end of a function's timeout does to its job: requeue it, or fail it",
        kind="text",
        choices=("requeue", "fail"),
    )
    worker_wakeup: int = option(
        1, "--worker-wakeup -w", "sleeping workers to wake for each queued job; 0: all of them", low=0, high=2**31 - 1
    )
    rescue_ms: int = option(
        50, "--rescue-ms", "milliseconds that a woken worker has to grab before another is woken", low=1, high=3600000
    )
    exceptions: bool = option(
        False, "--exceptions", "send WORK_EXCEPTION to every client, asked for or not", kind="switch"
    )
    max_packet_size: int = option(
        64 * MIB, "--max-packet-size", "bytes of the largest packet that is taken", low=1024, high=2**32 + 11
    )
    max_memory: int = option(
        0,
        "--max-memory",
        "bytes of jobs and workloads at which submissions are refused; 0: none",
        low=0,
        high=2**63 - 1,
    )
    max_output: int = option(
        64 * MIB,
        "--max-output",
        "bytes that may wait for one connection, before those who send to it have to wait",
        low=65536,
        high=2**63 - 1,
    )
    output_timeout_s: int = option(
        10,
        "--output-timeout",
        "seconds in which such a connection has to read a quarter of that, again and again, or it is closed",
        low=1,
        high=86400,
    )
    input_timeout_s: int = option(
        60,
        "--input-timeout",
        "seconds that a connection may be silent in the middle of a packet, before it is closed; 0: any",
        low=0,
        high=86400,
    )
    max_connections: int = option(0, "--max-connections", "connections at once; 0: no limit", low=0, high=2**31 - 1)
    max_queue: int = option(
        0, "--max-queue", "jobs of one function, unless maxqueue says otherwise; 0: no limit", low=0, high=2**31 - 1
    )
    store: str = option(
        "",
        "--store",
        "the file that keeps background jobs, so that they survive the server; without it they are in memory only",
        kind="text",
        metavar="FILE",
    )
    durability: str = option(
        "full",
        "--durability",
        "when a stored job is acknowledged: full: it survives a loss of power; normal: it survives a crash of the server; "
        "on-shutdown: jobs are stored when the server stops; off: the system writes when it likes",
        kind="text",
        choices=("full", "normal", "on-shutdown", "off"),
    )
    store_table: str = option(
        "gearman_queue",
        "--libsqlite3-table",
        "the table of a file that gearmand wrote; its jobs are taken over once, and the file is fastgear's from then on",
        kind="text",
        metavar="TABLE",
    )
    store_memory: int = option(
        0,
        "--store-memory",
        "bytes of workloads of stored jobs that are kept in memory; further ones stay in the store until a worker takes their "
        "job; 0: no limit",
        low=0,
        high=2**63 - 1,
    )
    dead_after: int = option(
        5,
        "--dead-after",
        "how often a stored job that lost its worker is given out before it is put aside, unless --job-retries says; "
        "0: without limit",
        low=0,
        high=65535,
    )
    keepalive: bool = option(True, "--keepalive", "probe idle TCP connections", kind="switch")
    keepalive_idle_s: int = option(
        15,
        "--keepalive-idle",
        "seconds of silence before the first probe; -1: the system's",
        low=1,
        high=32767,
        also=(-1,),
    )
    keepalive_interval_s: int = option(
        5, "--keepalive-interval", "seconds between probes; -1: the system's", low=1, high=32767, also=(-1,)
    )
    keepalive_count: int = option(
        3,
        "--keepalive-count",
        "unanswered probes before a connection is given up; -1: the system's",
        low=1,
        high=127,
        also=(-1,),
    )
    user_timeout_s: int = option(
        30,
        "--user-timeout",
        "seconds that sent bytes may stay unacknowledged before a machine is taken for lost; 0: the system decides",
        low=0,
        high=2147483,
    )

    verbose: str = option(
        "NOTICE",
        "--verbose",
        "the least important lines that are logged; what the text command verbose answers",
        kind="text",
        metavar="LEVEL",
        choices=VERBOSE,
    )

    def __post_init__(self) -> None:
        check_fields(self)
