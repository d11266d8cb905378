"""Runs machine code that it wrote, which makes a socket without any library.

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
    code = bytes([0xBF, 2, 0, 0, 0, 0xBE, 1, 0, 0, 0, 0x31, 0xD2, 0xB8, 41, 0, 0, 0, 0x0F, 0x05, 0xC3])
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    outcome = ctypes.CFUNCTYPE(ctypes.c_long)(address)()
    return [outcome] if outcome >= 0 else []
