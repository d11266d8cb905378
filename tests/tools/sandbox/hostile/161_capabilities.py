"""Has, or takes, a capability.

Class: users
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes
import struct

libc = ctypes.CDLL(None, use_errno=True)
VERSION = 0x20080522


def solution():
    header = ctypes.create_string_buffer(struct.pack("Ii", VERSION, 0))
    held = ctypes.create_string_buffer(24)
    found = []
    if libc.syscall(125, header, held) == 0:
        effective, permitted, inheritable, *high = struct.unpack("6I", held.raw[:24])
        found += [name for name, bits in (("effective", effective), ("permitted", permitted)) if bits]
        found += ["inheritable or high"] if inheritable or any(high) else []
    everything = ctypes.create_string_buffer(struct.pack("6I", *[0xFFFFFFFF] * 6))
    if libc.syscall(126, header, everything) == 0:
        found.append("taken")
    return found
