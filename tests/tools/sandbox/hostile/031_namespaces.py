"""Enters new namespaces, in which it would be root.

Class: namespaces
Must: no-host-file, no-process
Status: ok, error, forbidden
Value: []
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
KINDS = {
    "time": 0x80,
    "mount": 0x20000,
    "cgroup": 0x2000000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "descriptors": 0x400,
    "folder": 0x200,
}


def done(outcome):
    if outcome != 0:
        raise OSError(ctypes.get_errno())


def attempts():
    for name, flag in KINDS.items():
        yield name, lambda flag=flag: done(libc.unshare(flag))
    yield "user and mount", lambda: done(libc.unshare(0x10020000))
    for descriptor in range(16):
        yield f"setns {descriptor}", lambda fd=descriptor: done(libc.setns(fd, 0))
    yield "setns file", lambda: done(libc.setns(os.open("/proc/1/ns/mnt", os.O_RDONLY), 0))
    yield "hostname", lambda: done(libc.sethostname(b"@HOSTNAME@", len(b"@HOSTNAME@")))


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
