"""Opens handles of other processes, takes their descriptors and signals through them (pidfd).

Class: processes
Must: no-signal, no-secret
Status: ok, error, forbidden
Value: []
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno())


def attempts():
    for pid in (int("@PID@"), int("@PARENT@"), os.getppid(), os.getpid(), 1):
        yield f"open {pid}", lambda pid=pid: os.pidfd_open(pid)
    for descriptor in range(16):
        yield f"get from {descriptor}", lambda fd=descriptor: call(438, fd, 0, 0)
        yield f"signal {descriptor}", lambda fd=descriptor: call(424, fd, 0, None, 0)
        yield f"advise {descriptor}", lambda fd=descriptor: call(440, fd, None, 0, 21, 0)
        yield f"release {descriptor}", lambda fd=descriptor: call(448, fd, 0)
        yield f"wait {descriptor}", lambda fd=descriptor: os.waitid(3, fd, os.WEXITED | os.WNOHANG)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
