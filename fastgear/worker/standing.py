# SPDX-License-Identifier: MIT
"""How a worker stands with one of its servers: when to try again, and what has been logged. Knows no sockets."""

from __future__ import annotations

import logging
import time

from fastgear.addresses import Address
from fastgear.errors import ConnectionLost, FastgearError
from fastgear.servers import Backoff

__all__ = ["Standing"]

log = logging.getLogger(__name__)


class Standing:
    """One server. The same trouble is logged once, however often it comes again meanwhile."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.backoff = Backoff()
        self._trouble = ""  # what was logged last; nothing while all is well

    def unreachable(self, error: ConnectionLost) -> None:
        self._failed(f"{error}; trying again until it can be reached")

    def lost(self, error: FastgearError) -> None:
        what = error if isinstance(error, ConnectionLost) else f"the connection to {self.address} broke: {error}"
        self._failed(f"{what}; connecting again")

    def _failed(self, trouble: str) -> None:
        """Leave the server alone for a while."""
        self.backoff.failed(time.monotonic())
        log.log(logging.DEBUG if self._trouble == trouble else logging.WARNING, "%s", trouble)
        self._trouble = trouble

    def worked(self) -> None:
        """The server has answered, which is more than being connected to."""
        if self._trouble:
            log.info("%s answers again", self.address)
        self._trouble = ""
        self.backoff.worked()
