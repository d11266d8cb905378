"""Sets the clock of the machine, to a time that none has: only who may set it is told what is wrong with it.

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes
import errno
import struct

libc = ctypes.CDLL(None, use_errno=True)
REFUSED = (errno.EPERM, errno.ENOSYS)


def solution():
    never = ctypes.create_string_buffer(struct.pack("qq", -1, 1 << 40))
    reached = []
    for name, number, *rest in (("clock_settime", 227, 0, never), ("settimeofday", 164, never, None)):
        libc.syscall(number, *rest)
        if ctypes.get_errno() not in REFUSED:
            reached.append(name)
    return reached
