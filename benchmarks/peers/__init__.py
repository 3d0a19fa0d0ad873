# SPDX-License-Identifier: MIT
"""Job servers side by side: how each is started, loads for all of them, and what is made of the figures."""
