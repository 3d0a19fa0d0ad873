# SPDX-License-Identifier: MIT
"""The numbers that fastgear is to reach: which program measures each of them, and what is made of its rounds."""
