"""Writes a frame that no honest reporter would write (not json), then leaves without another word.

Class: forged results
Must: plain
Status: ok, error, crashed, no_result, result_limit, forbidden
Value: anything
"""

import os
import struct

TEXT = b'{"status": ok, NaN: [1,,], "value": __import__("os").abort()}'


def solution():
    for descriptor in range(3, 64):
        for form in ("<I", ">I"):
            try:
                os.write(descriptor, struct.pack(form, len(TEXT)) + TEXT)
            except OSError:
                break
    os._exit(0)
