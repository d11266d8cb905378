"""Forks as often as it can, 150 times at most.

Class: bombs
Must: no-process
Status: ok
Value: at most 0
"""

import os
import time


def solution():
    forked = 0
    for _ in range(150):
        try:
            pid = os.fork()
        except Exception:
            continue
        if pid == 0:
            time.sleep(2)
            os._exit(0)
        forked += 1
    return forked
