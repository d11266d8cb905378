"""Writes a frame that no honest reporter would write (other status), then leaves without another word.

Class: forged results
Must: plain
Status: ok, error, crashed, no_result, result_limit, forbidden
Value: anything
"""

import os
import struct

TEXT = b'{"status": "cancelled", "kind": "timeout", "error": {"type": 1}, "value": null}'


def solution():
    for descriptor in range(3, 64):
        for form in ("<I", ">I"):
            try:
                os.write(descriptor, struct.pack(form, len(TEXT)) + TEXT)
            except OSError:
                break
    os._exit(0)
