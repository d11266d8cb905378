"""Reads and writes far beyond an array, by a stride that it made up, in search of what lies beside it.

Class: scientific packages
Must: no-secret, no-core, plain
Status: ok, error, crashed
Value: anything
"""

import re

import numpy as np


def solution():
    array = np.zeros(8, dtype=np.uint8)
    window = np.lib.stride_tricks.as_strided(array, shape=(1 << 16,), strides=(1,))
    seen = bytes(window)
    window[:4096] = 0x41
    return [word.decode("ascii")[:100] for word in re.findall(rb"[ -~]{6,}", seen)][:200]
