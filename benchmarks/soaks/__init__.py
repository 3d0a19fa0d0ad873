# SPDX-License-Identifier: MIT
"""What benchmarks/soak.py is made of: its jobs, who submits and who does them, and the books about them."""
