"""Makes and connects sockets by system call numbers, past Python's own module.

Class: network
Must: no-network
Status: ok, error, forbidden
Value: []
"""

import ctypes
import struct

libc = ctypes.CDLL(None, use_errno=True)
ADDRESS = struct.pack("<H", 2) + struct.pack(">H", int("@PORT@")) + bytes([127, 0, 0, 1]) + bytes(8)


def call(number, *arguments):
    outcome = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in arguments))
    if outcome == -1:
        raise OSError(ctypes.get_errno())
    return outcome


def attempts():
    yield "socket", lambda: call(41, 2, 1, 0)
    yield "socketpair", lambda: call(53, 1, 1, 0, ctypes.addressof(ctypes.create_string_buffer(8)))
    address = ctypes.create_string_buffer(ADDRESS)
    for descriptor in range(12):
        yield f"connect {descriptor}", lambda fd=descriptor: call(42, fd, ctypes.addressof(address), 16)
        yield f"bind {descriptor}", lambda fd=descriptor: call(49, fd, ctypes.addressof(address), 16)
        yield f"listen {descriptor}", lambda fd=descriptor: call(50, fd, 1)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
