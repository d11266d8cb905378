"""Reads the stack upwards to where the process was given its arguments and its environment.

Class: secrets
Must: no-secret
Status: ok, error, crashed, forbidden, result_limit
Value: anything
"""

import ctypes
import re


def solution():
    here = ctypes.create_string_buffer(8)
    frame = ctypes.addressof(ctypes.pointer(here))
    libc = ctypes.CDLL(None)
    end = ctypes.cast(ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ"), ctypes.c_void_p).value or frame
    found = b""
    for address in range(end, end + 65536, 256):
        found += ctypes.string_at(address, 256)
        if len(found) > 60_000:
            break
    words = re.findall(rb"[ -~]{6,}", found)
    return [word.decode("ascii")[:200] for word in words][:200]
