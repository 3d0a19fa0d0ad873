# SPDX-License-Identifier: MIT
"""The options of worker processes."""

from __future__ import annotations

from dataclasses import dataclass

from fastgear.config.option import check_fields, option


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorConfig:
    """How many worker processes are kept, and for how long each. Raises ConfigError, naming the field."""

    workers: int = option(
        0,
        "--workers --processes -n",
        "worker processes; 0: one for each CPU that may be used",
        low=0,
        high=512,
    )
    max_jobs: int = option(
        0, "--max-jobs", "jobs after which a worker process is replaced; 0: any number", low=0, high=2**62
    )
    max_rss: int = option(
        0,
        "--max-rss",
        "bytes of resident memory at which a worker process is replaced, after its job; 0: none",
        low=0,
        high=2**62,
    )
    max_age_s: float = option(
        0.0,
        "--max-age",
        "seconds after which a worker process is replaced, after its job; 0: never",
        kind="seconds",
        low=0,
        high=1e9,
    )
    time_limit_s: float = option(
        0.0,
        "--time-limit",
        "seconds that a job may take before its worker process is told to leave, and then killed; 0: any",
        kind="seconds",
        low=0,
        high=1e9,
    )
    grace_s: float = option(
        5.0,
        "--grace",
        "seconds between SIGTERM and SIGKILL for a worker process that is over its time limit",
        kind="seconds",
        low=0,
        high=1e9,
    )
    drain_s: float = option(
        0.0,
        "--drain",
        "seconds that jobs in hand get when workers are told to leave, before they are killed; 0: as long as they take",
        kind="seconds",
        low=0,
        high=1e9,
    )
    backoff_s: float = option(
        10.0,
        "--backoff",
        "the longest pause before another worker process follows one that died soon after its start",
        kind="seconds",
        low=0,
        high=1e9,
    )
    jitter: float = option(
        0.1,
        "--jitter",
        "the part of --max-jobs, --max-rss and --max-age by which each worker's own limit may be lower",
        kind="fraction",
        low=0,
        high=1,
    )

    def __post_init__(self) -> None:
        check_fields(self)
