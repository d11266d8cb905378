"""Reads what its process is sent, to learn of other programs and to answer in their place.

Class: siblings
Must: contained
Status: ok, error, no_result, crashed, timeout
Value: []
Timeout: 2
"""

import os
import select


def solution():
    found = []
    for descriptor in range(3, 16):
        try:
            while select.select([descriptor], [], [], 0)[0] and (block := os.read(descriptor, 4096)):
                found.append(block.decode("latin-1"))
        except OSError:
            continue
    return found
