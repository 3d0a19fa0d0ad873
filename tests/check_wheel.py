# SPDX-License-Identifier: MIT
"""Fail unless a wheel holds what it should (stubs, .pxd, headers, py.typed) and nothing else (no C, no tests)."""

import sys
import zipfile

wheel = zipfile.ZipFile(sys.argv[1])
names = wheel.namelist()
wrong = [name for name in names if name.endswith((".c", ".o")) or name.startswith(("tests", "benchmarks"))]
missing = [
    wanted
    for wanted in ("fastgear/py.typed", "fastgear/core/model.pxd", "fastgear/base/check.h", "fastgear/server/loop.pyi")
    if wanted not in names
]
(points,) = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
if "[pytest11]\nfastgear = fastgear.testing.plugin\n" not in wheel.read(points).decode():
    missing.append("the entry point of the pytest plugin")
if wrong or missing:
    sys.exit(f"the wheel has {wrong}, and lacks {missing}")
print(f"{sys.argv[1].rpartition('/')[2]}: {len(names)} files, all as they should be")
