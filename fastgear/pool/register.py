# SPDX-License-Identifier: MIT
"""The door to libraries that want to be told of a backend, for those who have them. Importing this imports none of them."""

from __future__ import annotations

__all__ = ["register_joblib_backend"]


def register_joblib_backend() -> None:
    """Let joblib know the backend "fastgear", so that ``joblib.parallel_config("fastgear")`` selects it.

    joblib finds no backends by itself, so this is called once in each program. Raises ImportError where there is no joblib.
    Workers stay for the next call, as loky's do, and end with the program::

        fastgear.register_joblib_backend()
        with joblib.parallel_config("fastgear", n_jobs=2):
            joblib.Parallel()(joblib.delayed(pow)(2, n) for n in range(5))  # [1, 2, 4, 8, 16]
    """
    import fastgear.pool.joblib  # noqa: F401  registers itself, here and in workers
