"""Attaches to a process of the host as a debugger.

Class: processes
Must: no-signal
Status: ok, error, forbidden
Value: []
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
ATTACH, SEIZE = 16, 0x4206


def solution():
    pids = {int("@PID@"), int("@PARENT@"), os.getppid()} - {0}
    return [pid for pid in pids for request in (ATTACH, SEIZE) if libc.ptrace(request, pid, 0, 0) == 0]
