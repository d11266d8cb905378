"""Loads and removes kernel modules, with arguments that none has.

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    block = ctypes.create_string_buffer(256)
    outcomes = [libc.syscall(number, block, 0, b"") for number in (175, 176, 313)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
