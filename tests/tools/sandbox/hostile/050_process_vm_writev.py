"""Moves memory between itself and processes of the host (process_vm_writev).

Class: processes
Must: no-secret, no-signal
Status: ok, error, forbidden
Value: []
"""

import ctypes
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
CALL = 311


def solution():
    own = ctypes.create_string_buffer(8)
    moved = []
    for pid in {int("@PID@"), int("@PARENT@"), os.getppid()} - {0}:
        local = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(own), 8))
        remote = ctypes.create_string_buffer(struct.pack("QQ", int("@ADDRESS@"), 8))
        if libc.syscall(CALL, pid, local, 1, remote, 1, 0) >= 0:
            moved.append(pid)
    return moved
