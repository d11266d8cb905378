"""Makes calls with numbers that the kernel may learn one day, and with numbers out of every range.

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    return [number for number in (*range(470, 700), 1 << 20, (1 << 31) - 1) if libc.syscall(number, 0, 0, 0, 0) >= 0]
