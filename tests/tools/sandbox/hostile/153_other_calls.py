# mypy: ignore-errors
"""Makes calls in the manner of a 32-bit program within the 64-bit table (x32), where older filters do not look.

Class: raw system calls
Must: no-network
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
BIT = 0x40000000


def solution():
    calls = {"getpid": (39,), "socket": (41, 2, 1, 0), "open": (2, b"@FILE@", 0), "execve": (520, b"/bin/true", 0, 0)}
    return [name for name, (number, *rest) in calls.items() if libc.syscall(BIT | number, *rest) >= 0]
