"""Forks by clone, clone3 and vfork.

Class: bombs
Must: no-process
Status: ok, error, forbidden
Value: []
"""

import ctypes
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
CHILD_ENDED = 17


def started(outcome):
    if outcome == 0:
        os._exit(0)
    if outcome < 0:
        raise OSError(ctypes.get_errno())


def attempts():
    request = ctypes.create_string_buffer(struct.pack("8Q", 0, 0, 0, 0, CHILD_ENDED, 0, 0, 0))
    sibling = ctypes.create_string_buffer(struct.pack("8Q", 0x8000, 0, 0, 0, 0, 0, 0, 0))
    yield "clone", lambda: started(libc.syscall(56, CHILD_ENDED, 0, 0, 0, 0))
    yield "clone as sibling", lambda: started(libc.syscall(56, 0x8000 | CHILD_ENDED, 0, 0, 0, 0))
    yield "clone untied", lambda: started(libc.syscall(56, 0, 0, 0, 0, 0))
    yield "clone into new user", lambda: started(libc.syscall(56, 0x10000000 | CHILD_ENDED, 0, 0, 0, 0))
    yield "clone3", lambda: started(libc.syscall(435, request, 64))
    yield "clone3 as sibling", lambda: started(libc.syscall(435, sibling, 64))
    yield "fork", lambda: started(libc.syscall(57))
    yield "terminal fork", lambda: started(os.forkpty()[0])


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
