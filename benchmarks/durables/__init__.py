# SPDX-License-Identifier: MIT
"""What the programs about durable jobs share. They speak raw packets, of which nothing is fastgear's code."""
