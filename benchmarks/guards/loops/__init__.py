# SPDX-License-Identifier: MIT
"""Hot paths, each as a loop in C; compiled by guards/build.py, with the flags of the package."""
