# mypy: ignore-errors
"""Tells its whole environment, as Python and as the C library know it.

Class: secrets
Must: no-secret
Status: ok, error, crashed, forbidden
Value: anything
"""

import ctypes
import os


def from_c():
    table = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    entries = []
    for rank in range(1000):
        if not table or table[rank] is None:
            break
        entries.append(table[rank].decode("utf-8", "replace"))
    return entries


def solution():
    return [dict(os.environ), [os.getenv("@SECRET_NAME@")], from_c()]
