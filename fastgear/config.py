# SPDX-License-Identifier: MIT
"""Every option once: a frozen dataclass from whose fields flags, environment names and the table of options are derived."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any

from fastgear.errors import ConfigError

__all__ = ["Option", "ServerConfig", "SupervisorConfig", "option_of", "options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What the outside calls a field: its flags, its environment name, its help, the range that it takes."""

    flags: tuple[str, ...]
    env: str
    help: str
    kind: str = "number"
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def _option(default: Any, flags: str, help: str, **more: Any) -> Any:
    names = tuple(flags.split())
    env = "FASTGEAR_" + names[0].lstrip("-").replace("-", "_").upper()
    return field(default=default, metadata={"option": Option(flags=names, env=env, help=help, **more)})


def option_of(config_field: Field[Any]) -> Option:
    option: Option = config_field.metadata["option"]
    return option


MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """The options of a server. Raises ConfigError, naming the field, for a value that makes no sense."""

    listen: tuple[str, ...] = _option(
        ("127.0.0.1:4730",),
        "--listen -L",
        "where to listen: host:port, [ipv6]:port, :port (every interface), unix:/path or fd:N; may be given several times",
        kind="addresses",
    )
    backlog: int = _option(1024, "--backlog -b", "connections that may wait to be accepted", low=1, high=2**31 - 1)
    handle_prefix: str = _option(
        "", "--job-handle-prefix", "the beginning of job handles, instead of H:<hostname>", kind="text"
    )
    job_retries: int = _option(
        -1,
        "--job-retries -j",
        "how often a job that lost its worker is given out before it fails; -1: without limit",
        low=-1,
        high=65535,
    )
    timeout_policy: str = _option(
        "requeue",
        "--timeout-policy",
        "what the end of a function's timeout does to its job: requeue it, or fail it",
        kind="text",
        choices=("requeue", "fail"),
    )
    worker_wakeup: int = _option(
        1, "--worker-wakeup -w", "sleeping workers to wake for each queued job; 0: all of them", low=0, high=2**31 - 1
    )
    rescue_ms: int = _option(
        50, "--rescue-ms", "milliseconds that a woken worker has to grab before another is woken", low=1, high=3600000
    )
    exceptions: bool = _option(
        False, "--exceptions", "send WORK_EXCEPTION to every client, asked for or not", kind="switch"
    )
    max_packet_size: int = _option(
        64 * MIB, "--max-packet-size", "bytes of the largest packet that is taken", low=1024, high=2**32 + 11
    )
    max_memory: int = _option(
        0,
        "--max-memory",
        "bytes of jobs and workloads at which submissions are refused; 0: none",
        low=0,
        high=2**63 - 1,
    )
    max_output: int = _option(
        64 * MIB,
        "--max-output",
        "bytes that may wait for one connection, before those who send to it have to wait",
        low=65536,
        high=2**63 - 1,
    )
    output_timeout_s: int = _option(
        10,
        "--output-timeout",
        "seconds in which such a connection has to read a quarter of that, again and again, or it is closed",
        low=1,
        high=86400,
    )
    input_timeout_s: int = _option(
        60,
        "--input-timeout",
        "seconds that a connection may be silent in the middle of a packet, before it is closed; 0: any",
        low=0,
        high=86400,
    )
    max_connections: int = _option(0, "--max-connections", "connections at once; 0: no limit", low=0, high=2**31 - 1)
    max_queue: int = _option(
        0, "--max-queue", "jobs of one function, unless maxqueue says otherwise; 0: no limit", low=0, high=2**31 - 1
    )
    keepalive: bool = _option(True, "--keepalive", "probe idle TCP connections", kind="switch")
    keepalive_idle_s: int = _option(
        15, "--keepalive-idle", "seconds of silence before the first probe", low=1, high=32767
    )
    keepalive_interval_s: int = _option(5, "--keepalive-interval", "seconds between probes", low=1, high=32767)
    keepalive_count: int = _option(
        3, "--keepalive-count", "unanswered probes before a connection is given up", low=1, high=127
    )
    user_timeout_s: int = _option(
        30,
        "--user-timeout",
        "seconds that sent bytes may stay unacknowledged before a machine is taken for lost; 0: the system decides",
        low=0,
        high=2147483,
    )

    def __post_init__(self) -> None:
        for config_field in fields(self):
            _check(config_field.name, option_of(config_field), getattr(self, config_field.name))
        if not self.listen:
            raise ConfigError("listen: a server needs at least one address")
        if len(self.handle_prefix.encode()) > 41 or any(character < "!" for character in self.handle_prefix):
            raise ConfigError("handle_prefix: at most 41 bytes, without blanks and control characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorConfig:
    """How many worker processes are kept, and for how long each. Raises ConfigError, naming the field."""

    workers: int = _option(
        0,
        "--workers --processes -n",
        "worker processes; 0: one for each CPU that may be used",
        low=0,
        high=512,
    )
    max_jobs: int = _option(
        0, "--max-jobs", "jobs after which a worker process is replaced; 0: any number", low=0, high=2**62
    )
    max_rss: int = _option(
        0,
        "--max-rss",
        "bytes of resident memory at which a worker process is replaced, after its job; 0: none",
        low=0,
        high=2**62,
    )
    max_age_s: float = _option(
        0.0,
        "--max-age",
        "seconds after which a worker process is replaced, after its job; 0: never",
        kind="seconds",
        low=0,
        high=1e9,
    )
    time_limit_s: float = _option(
        0.0,
        "--time-limit",
        "seconds that a job may take before its worker process is told to leave, and then killed; 0: any",
        kind="seconds",
        low=0,
        high=1e9,
    )
    grace_s: float = _option(
        5.0,
        "--grace",
        "seconds between SIGTERM and SIGKILL for a worker process that is over its time limit",
        kind="seconds",
        low=0,
        high=1e9,
    )
    drain_s: float = _option(
        0.0,
        "--drain",
        "seconds that jobs in hand get when workers are told to leave, before they are killed; 0: as long as they take",
        kind="seconds",
        low=0,
        high=1e9,
    )
    backoff_s: float = _option(
        10.0,
        "--backoff",
        "the longest pause before another worker process follows one that died soon after its start",
        kind="seconds",
        low=0,
        high=1e9,
    )
    jitter: float = _option(
        0.1,
        "--jitter",
        "the part of --max-jobs, --max-rss and --max-age by which each worker's own limit may be lower",
        kind="fraction",
        low=0,
        high=1,
    )

    def __post_init__(self) -> None:
        for config_field in fields(self):
            _check(config_field.name, option_of(config_field), getattr(self, config_field.name))


def _check(name: str, option: Option, value: Any) -> None:
    if option.choices and value not in option.choices:
        raise ConfigError(f"{name}: {value!r} is not one of {', '.join(option.choices)}")
    if option.kind not in ("number", "seconds", "fraction"):
        return
    if isinstance(value, bool) or not isinstance(value, int if option.kind == "number" else (int, float)):
        raise ConfigError(f"{name}: {value!r} is not a {'whole number' if option.kind == 'number' else 'number'}")
    if not (option.low is None or value >= option.low) or not (option.high is None or value <= option.high):
        limit = f"from {option.low:,} to {option.high:,}" if option.high is not None else f"at least {option.low:,}"
        raise ConfigError(f"{name}: {value:,} is out of range; it is {limit}")


def options(kind: type[ServerConfig] | type[SupervisorConfig] = ServerConfig) -> Iterator[tuple[str, Option, Any]]:
    """Every option of a configuration: the field's name, its Option and its default."""
    for config_field in fields(kind):
        yield config_field.name, option_of(config_field), config_field.default
