# SPDX-License-Identifier: MIT
"""A Gearman job server that lives inside a Python application or beside it, with its client, its worker and a process pool.

    >>> import fastgear
    >>> with fastgear.Server("127.0.0.1:0") as server, fastgear.Client(server.address) as client:
    ...     handle = client.submit_background("reverse", b"hello")
    ...     server.snapshot().functions[0].queued
    1

Every public name is here, those for asyncio are in `fastgear.aio`, and the rest is private. Imports are lazy, so that each user
pays for what is used only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgear import aio
    from fastgear.admin.text import AdminClient
    from fastgear.client.client import Client
    from fastgear.client.job import Job
    from fastgear.config import ServerConfig
    from fastgear.errors import (
        CannotStart,
        ConfigError,
        ConnectionLost,
        FastgearError,
        InternalError,
        JobError,
        JobException,
        JobFailed,
        JobTimeout,
        LocalProtocolError,
        ProtocolError,
        QueueFull,
        RemoteError,
        RemoteProtocolError,
        ServerError,
        StoreError,
        StoreFull,
        StoreInUse,
        StoreLost,
        StoreTrouble,
        TransferError,
        WorkerDied,
    )
    from fastgear.pool.executor import Executor
    from fastgear.pool.pool import Pool, map
    from fastgear.pool.register import register_joblib_backend
    from fastgear.server.server import Server
    from fastgear.types import (
        ConnectionInfo,
        FunctionInfo,
        JobInfo,
        JobStatus,
        PoolFunctionInfo,
        PoolStats,
        PoolWorkerInfo,
        Priority,
        PriorityInfo,
        ServerSnapshot,
        SlowTask,
    )
    from fastgear.worker.job import WorkerJob
    from fastgear.worker.worker import Worker

__all__ = [
    "AdminClient",
    "CannotStart",
    "Client",
    "ConfigError",
    "ConnectionInfo",
    "ConnectionLost",
    "Executor",
    "FastgearError",
    "FunctionInfo",
    "InternalError",
    "Job",
    "JobError",
    "JobException",
    "JobFailed",
    "JobInfo",
    "JobStatus",
    "JobTimeout",
    "LocalProtocolError",
    "Pool",
    "PoolFunctionInfo",
    "PoolStats",
    "PoolWorkerInfo",
    "Priority",
    "PriorityInfo",
    "ProtocolError",
    "QueueFull",
    "RemoteError",
    "RemoteProtocolError",
    "Server",
    "ServerConfig",
    "ServerError",
    "ServerSnapshot",
    "SlowTask",
    "StoreError",
    "StoreFull",
    "StoreInUse",
    "StoreLost",
    "StoreTrouble",
    "TransferError",
    "Worker",
    "WorkerDied",
    "WorkerJob",
    "aio",
    "map",
    "register_joblib_backend",
]

_HOME = {
    "AdminClient": "fastgear.admin.text",
    "Client": "fastgear.client.client",
    "Executor": "fastgear.pool.executor",
    "Job": "fastgear.client.job",
    "Pool": "fastgear.pool.pool",
    "Server": "fastgear.server.server",
    "ServerConfig": "fastgear.config",
    "Worker": "fastgear.worker.worker",
    "WorkerJob": "fastgear.worker.job",
    "map": "fastgear.pool.pool",
    "register_joblib_backend": "fastgear.pool.register",
} | dict.fromkeys(
    (
        "ConnectionInfo",
        "FunctionInfo",
        "JobInfo",
        "JobStatus",
        "PoolFunctionInfo",
        "PoolStats",
        "PoolWorkerInfo",
        "Priority",
        "PriorityInfo",
        "ServerSnapshot",
        "SlowTask",
    ),
    "fastgear.types",
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "aio":
        return importlib.import_module("fastgear.aio")
    value = getattr(importlib.import_module(_HOME.get(name, "fastgear.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
