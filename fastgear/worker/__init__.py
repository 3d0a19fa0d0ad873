# SPDX-License-Identifier: MIT
"""The blocking worker."""
