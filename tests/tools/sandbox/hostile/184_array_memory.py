"""Takes memory through numpy: more than there is in one piece, and then piece by piece, touched.

Class: bombs
Must: contained
Status: memory, error
Memory: 192
"""

import numpy as np


def solution():
    try:
        return float(np.ones((1 << 20, 1 << 16)).sum())
    except MemoryError:
        return len([np.ones(1 << 20) for _ in range(200)])
