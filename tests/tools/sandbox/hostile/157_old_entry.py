"""Calls the fixed page that old kernels offered (vsyscall), whose address every program knows.

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
    code = bytes([0x31, 0xFF, 0x31, 0xF6, 0x48, 0xC7, 0xC0, 0, 0, 0x60, 0xFF, 0xFF, 0xD0, 0x31, 0xC0, 0xC3])
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    outcome = ctypes.CFUNCTYPE(ctypes.c_long)(address)()
    return [outcome] if outcome != 0 else []
