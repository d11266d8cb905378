"""Writes 64 MiB to its output.

Class: bombs
Must: contained
Status: output_limit
Output: 65536
"""

import sys

for _ in range(1024):
    sys.stdout.write("x" * 65536 + "\n")
result = "written"
