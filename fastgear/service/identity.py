# SPDX-License-Identifier: MIT
"""Who the process is and how much it may have: its user, its descriptors, its core file."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pwd
import resource

__all__ = ["allow_core_files", "limit_descriptors", "switch_user"]

_PR_SET_DUMPABLE = 4


def limit_descriptors(count: int) -> None:
    """Have so many descriptors; with 0, as many as the system allows. Raises OSError, saying what it does allow."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not count:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard if _within(count, hard) else count))
    except (ValueError, OSError) as error:
        message = f"--file-descriptors: {count} is more than the {hard} that this user may have"
        raise OSError(errno.EPERM, message) from error


def _within(count: int, limit: int) -> bool:
    return limit == resource.RLIM_INFINITY or count <= limit


def switch_user(name: str) -> None:
    """Become this user for good, with its groups. Raises OSError, saying why not; being it already is fine."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise OSError(errno.ENOENT, f"--user: there is no user {name!r}") from None
    if os.geteuid() != 0:
        if os.geteuid() == user.pw_uid:
            return
        raise OSError(errno.EPERM, f"--user: only root may become {name!r}")
    try:
        os.initgroups(name, user.pw_gid)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    except OSError as error:
        raise OSError(error.errno, f"--user: cannot become {name!r}: {error.strerror}") from error


def allow_core_files() -> None:
    """Let a crash leave a core file. A process that has changed its user needs to say so."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
