"""Asks to be traced by its parent, whose signals then stop it.

Class: processes
Must: contained
Status: ok, error, forbidden, timeout
Value: []
Timeout: 2
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    return ["traced"] if libc.ptrace(0, 0, 0, 0) == 0 else []
