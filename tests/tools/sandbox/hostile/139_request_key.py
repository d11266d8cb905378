"""Looks for keys of the user.

Class: keyrings
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():

    outcomes = [libc.syscall(249, b"user", b"@MARK@", None, 0)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
