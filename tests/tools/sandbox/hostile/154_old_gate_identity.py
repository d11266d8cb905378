"""Asks the kernel through the 32-bit gate (int 0x80) which process this is.

Class: machine code
Must: no-network, no-core
Status: ok, error, forbidden, crashed
Value: []
"""

import ctypes
import mmap
import platform


def solution():
    if platform.machine() != "x86_64":
        return []
    code = bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3])
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    outcome = ctypes.CFUNCTYPE(ctypes.c_long)(address)()
    return [outcome] if outcome & 0xFFFFFFFF < 0xFFFFF000 else []
