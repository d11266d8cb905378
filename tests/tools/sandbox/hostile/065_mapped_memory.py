"""Maps address space that it does not mean to use: not reserved, shared with others, in large pages, at fixed places.

Class: bombs
Must: contained
Status: ok, error, crashed, forbidden
Value: []
Memory: 128
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_long
libc.mmap.argtypes = [ctypes.c_long, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
SHARED, PRIVATE, FIXED, ANONYMOUS, DOWNWARDS, NO_RESERVE, HUGE = 1, 2, 0x10, 0x20, 0x100, 0x4000, 0x40000
READ_WRITE = 3
KINDS = {
    "private": PRIVATE,
    "not reserved": PRIVATE | NO_RESERVE,
    "shared": SHARED,
    "large pages": PRIVATE | HUGE,
    "growing": PRIVATE | DOWNWARDS,
}


def solution():
    mapped = [
        f"{name} {size >> 20} MiB"
        for name, flags in KINDS.items()
        for size in (1 << 36, 1 << 30)
        if libc.mmap(0, size, READ_WRITE, flags | ANONYMOUS, -1, 0) != -1
    ]
    if libc.mmap(0, 4096, READ_WRITE, PRIVATE | FIXED | ANONYMOUS, -1, 0) == 0:
        mapped.append("address zero")
    return mapped
