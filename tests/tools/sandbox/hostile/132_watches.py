"""Watches files and folders of the host for what happens to them.

Class: metadata
Must: no-host-file
Status: ok, error, forbidden
Value: []
"""

import ctypes
import fcntl
import os

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    outcome = libc.syscall(number, *arguments)
    if outcome < 0:
        raise OSError(ctypes.get_errno())
    return outcome


def attempts():
    yield "inotify", lambda: call(254, call(294, 0), b"@FOLDER@", 0xFFF)
    yield "fanotify", lambda: call(300, 0, 0)
    yield "lock", lambda: fcntl.flock(os.open("@FILE@", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield "tell disk", lambda: call(187, os.open("@FILE@", os.O_RDONLY), 0, 4096)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
