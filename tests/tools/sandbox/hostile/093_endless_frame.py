"""Promises four gigabytes of an answer, sends a little, and waits.

Class: forged results
Must: bounded
Status: timeout, result_limit, crashed, error, no_result
Timeout: 1
"""

import os
import struct
import time


def solution():
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, struct.pack("<I", 0xFFFFFFFF) + b'{"status": "ok", "value": "')
        except OSError:
            continue
    time.sleep(60)
    return "late"
