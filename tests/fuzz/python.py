# SPDX-License-Identifier: MIT
"""python.py DOOR LIBFUZZER_ARGUMENTS: one of doors.py, under atheris."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import atheris

with atheris.instrument_imports(include=["fastgear", "fuzz.doors"]):
    from fuzz.doors import DOORS

door = DOORS[sys.argv.pop(1)]
atheris.Setup(sys.argv, door)
atheris.Fuzz()
