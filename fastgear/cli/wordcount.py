# SPDX-License-Identifier: MIT
"""The demo's work: counting words. What its worker processes import."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

from fastgear.worker.job import WorkerJob

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def words(text: bytes) -> Iterator[str]:
    """Words as people read them: assertEqual and assert_equal are both assert and equal."""
    return map(str.lower, _WORD.findall(text.decode("utf-8", "replace")))


def wc(job: WorkerJob) -> bytes:
    """The words of the workload and how often each occurs, as JSON."""
    return json.dumps(Counter(words(job.workload))).encode()


functions = {"wc": wc}
