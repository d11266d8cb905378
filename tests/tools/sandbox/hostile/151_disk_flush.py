"""Has the host write everything to its disks, which slows every process of the machine.

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    succeeded = []
    before = ctypes.get_errno()
    ctypes.set_errno(0)
    libc.sync()
    if libc.syscall(162) == 0:
        succeeded.append("sync")
    if libc.syscall(306, 1) == 0:
        succeeded.append("syncfs")
    ctypes.set_errno(before)
    return succeeded + [name for name in ("fdatasync",) if not hasattr(os, name)]
