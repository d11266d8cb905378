"""Fills pipes: memory of the kernel that no limit on address space counts. Answers with the MiB that it filled.

Class: bombs
Must: contained
Status: ok, error, timeout
Value: at most 40
Timeout: 10
"""

import contextlib
import fcntl
import os
import select

SET_SIZE = 1031


def solution():
    filled = 0
    for _ in range(200):
        try:
            _, writer = os.pipe()
        except OSError:
            break
        with contextlib.suppress(OSError):
            fcntl.fcntl(writer, SET_SIZE, 1 << 20)
        while select.select([], [writer], [], 0)[1]:  # there is room for a page at least
            filled += os.write(writer, bytes(4096))
    return filled >> 20
