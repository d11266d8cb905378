"""Leaves 64-bit mode by a far return, to make calls in the manner of an i386 program.

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
    code = bytes([0x6A, 0x23, 0x68, 0x00, 0x00, 0x00, 0x00, 0x48, 0xCB, 0xC3])
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    outcome = ctypes.CFUNCTYPE(ctypes.c_long)(address)()
    return [outcome] if outcome >= 0 else []
