"""Writes thousands of frames, one after another, as fast as it can.

Class: forged results
Must: plain, bounded
Status: ok, error, timeout, result_limit, crashed, no_result
Value: anything
Timeout: 2
"""

import os
import struct

FRAME = b'{"status": "ok", "value": 1}'
FRAMES = (struct.pack("<I", len(FRAME)) + FRAME) * 500


def solution():
    for descriptor in range(3, 16):
        for _ in range(500):
            try:
                os.write(descriptor, FRAMES)
            except OSError:
                break
    return 2
