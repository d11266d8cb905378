"""Opens as many descriptors as it can, 2000 at most.

Class: bombs
Must: contained
Status: ok, error
Value: at most 256
"""

import os


def solution():
    opened = 0
    try:
        for _ in range(1000):
            os.pipe()
            opened += 2
    except OSError:
        return opened
    return opened
