"""Leaves a key in a keyring that other processes of the user share.

Class: keyrings
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():

    outcomes = [libc.syscall(248, b"user", b"@MARK@", b"x", 1, ring) for ring in (-3, -4, -2)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
