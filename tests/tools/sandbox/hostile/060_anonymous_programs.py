"""Runs a program that no file system holds (memfd_create, execveat, fexecve).

Class: exec
Must: no-process
Status: ok, error, forbidden
Value: []
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    outcome = libc.syscall(number, *arguments)
    if outcome < 0:
        raise OSError(ctypes.get_errno())
    return outcome


def attempts():
    yield "memfd", lambda: os.memfd_create("@MARK@")
    yield "memfd call", lambda: call(319, b"@MARK@", 0)
    yield "secret memory", lambda: call(447, 0)
    for descriptor in range(8):
        yield f"execveat {descriptor}", lambda fd=descriptor: call(322, fd, b"", None, None, 0x1000)
        yield f"fexecve {descriptor}", lambda fd=descriptor: os.execve(fd, ["x"], {})


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
