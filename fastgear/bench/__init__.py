# SPDX-License-Identifier: MIT
"""A load for any Gearman server, and what can be measured with it."""
