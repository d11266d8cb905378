"""Switches parts of the machine: accounting, swap, names, terminals, restart (with arguments that none has).

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():

    outcomes = [
        libc.syscall(163, None),
        libc.syscall(168, b"/@MARK@"),
        libc.syscall(170, b"@HOSTNAME@", len(b"@HOSTNAME@")),
        libc.syscall(153),
        libc.syscall(169, 0, 0, 0, None),
    ]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
