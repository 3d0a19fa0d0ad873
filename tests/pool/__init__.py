# SPDX-License-Identifier: MIT
"""A package with this file, since benchmarks/pool.py would hide one without."""
