# SPDX-License-Identifier: MIT
"""What the programs about the pool share. Nothing of fastgear is imported before a peer needs it."""
