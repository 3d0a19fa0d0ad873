# SPDX-License-Identifier: MIT
"""The version, which pyproject.toml reads from here: asking the installed distribution for it takes milliseconds."""

from __future__ import annotations

__all__ = ["VERSION"]

VERSION = "0.1.0"
