"""Signals by thread and by queue, past the call that everybody filters.

Class: processes
Must: no-signal
Status: ok, error, forbidden
Value: []
"""

import ctypes
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno())


def attempts():
    for pid in {int("@PID@"), int("@PARENT@"), os.getppid()} - {0}:
        information = ctypes.create_string_buffer(b"\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff", 128)
        number = int(signal.SIGUSR1)
        yield f"tkill {pid}", lambda pid=pid, n=number: call(200, pid, n)
        yield f"tgkill {pid}", lambda pid=pid, n=number: call(234, pid, pid, n)
        yield f"queue {pid}", lambda pid=pid, n=number, i=information: call(129, pid, n, i)
        yield f"thread queue {pid}", lambda pid=pid, n=number, i=information: call(297, pid, pid, n, i)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
