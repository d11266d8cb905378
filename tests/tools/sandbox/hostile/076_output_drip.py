"""Writes single bytes without end.

Class: bombs
Must: bounded
Status: output_limit, timeout
Timeout: 2
Output: 4096
"""

import sys

while True:
    sys.stdout.write("。")
    sys.stdout.flush()
