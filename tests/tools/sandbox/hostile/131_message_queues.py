"""Makes and opens POSIX message queues and named semaphores.

Class: shared memory
Must: no-ipc
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
    yield "queue", lambda: call(240, b"@MARK@", os.O_CREAT | os.O_RDWR, 0o666, None)
    yield "unlink", lambda: call(241, b"@MARK@")
    yield "keyed", lambda: call(68, int("@KEY@") + 2, 0o1666)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
