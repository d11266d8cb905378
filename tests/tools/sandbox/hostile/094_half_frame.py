"""Sends the first bytes of a frame, and then what follows byte by byte without end.

Class: forged results
Must: bounded
Status: timeout, result_limit, crashed, error, no_result
Timeout: 1
"""

import contextlib
import os
import time


def solution():
    while True:
        for descriptor in range(3, 16):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"\x00")
        time.sleep(0.01)
