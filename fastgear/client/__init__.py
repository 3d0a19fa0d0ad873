# SPDX-License-Identifier: MIT
"""The blocking client."""
