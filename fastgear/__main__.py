# SPDX-License-Identifier: MIT
"""``python -m fastgear`` is the command ``fastgear``."""

import sys

from fastgear.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
