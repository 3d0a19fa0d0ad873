# SPDX-License-Identifier: MIT
"""For tests of code that uses Gearman: a real server in milliseconds, whose clock the test may move on.

`plugin` is what pytest finds; `GearmanServer` works without pytest as well. Imports nothing until it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgear.testing.server import GearmanServer

__all__ = ["GearmanServer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastgear.testing.server import GearmanServer

    return GearmanServer
