# SPDX-License-Identifier: MIT
"""For `fastgear serve --import soaks.supervised`."""

from __future__ import annotations

import logging

from soaks.notes import Notes
from soaks.workers import calls

logging.disable()  # what jobs raise is meant to be raised
functions = calls(Notes())
