# SPDX-License-Identifier: MIT
"""So that `guards` is found, whatever pytest is started with."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
