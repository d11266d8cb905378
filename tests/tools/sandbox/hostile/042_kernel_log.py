"""Reads the kernel's log, its load, its uptime and its memory.

Class: kernel information
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def done(outcome):
    if outcome < 0:
        raise OSError(ctypes.get_errno())


def attempts():
    buffer = ctypes.create_string_buffer(4096)
    yield "syslog read", lambda: done(libc.klogctl(3, buffer, 4096))
    yield "syslog size", lambda: done(libc.klogctl(10, None, 0))
    yield "load", os.getloadavg
    yield "sysinfo", lambda: done(libc.sysinfo(buffer))
    yield "quota", lambda: done(libc.syscall(179, 0x800007 << 8, b"/dev/vda", 0, buffer))
    yield "ustat", lambda: done(libc.syscall(136, 0xFE00, buffer))
    yield "sysfs", lambda: done(libc.syscall(139, 3))


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
