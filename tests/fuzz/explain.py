# SPDX-License-Identifier: MIT
"""explain.py FILE: play a program of tests/ext/_play_driver.pyx, and print each step of it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from ext.build import load_driver

load_driver("play").play(Path(sys.argv[1]).read_bytes(), trace=True)
