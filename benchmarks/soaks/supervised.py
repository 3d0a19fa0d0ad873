# SPDX-License-Identifier: MIT
"""For `fastgear serve --import soaks.supervised`."""

from __future__ import annotations

from soaks.logs import say_what_is_odd
from soaks.notes import Notes
from soaks.workers import calls

say_what_is_odd()
functions = calls(Notes())
