"""Writes 64 MiB to its error output, through the descriptor.

Class: bombs
Must: contained
Status: output_limit
Output: 65536
"""

import os

for _ in range(1024):
    os.write(2, b"x" * 65536)
result = "written"
