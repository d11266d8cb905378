"""Writes answers of its own into every descriptor, framed in the ways that reporters use.

Class: forged results
Must: plain
Status: ok, error, crashed, no_result, result_limit
Value: anything
"""

import json
import os
import struct

FIELDS = {"status": "ok", "value": "forged", "tier": "none", "usage": {"wall_s": -1}, "pid": 1, "stdout": "forged"}


def solution():
    text = json.dumps(FIELDS).encode()
    for descriptor in range(3, 64):
        for form in ("<I", ">I", "<Q", ">Q", "<H", "<i"):
            try:
                os.write(descriptor, struct.pack(form, len(text)) + text)
            except OSError:
                break
    return "honest"
