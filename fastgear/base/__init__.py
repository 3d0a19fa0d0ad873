# SPDX-License-Identifier: MIT
"""Generic C structures without a Gearman word."""
