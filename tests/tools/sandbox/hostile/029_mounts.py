"""Mounts, unmounts and moves the root (mount, umount2, pivot_root, chroot).

Class: mounts
Must: no-host-file
Status: ok, error
Value: []
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
SCRATCH = b"."
BIND, REMOUNT, PRIVATE, RECURSIVE = 4096, 32, 1 << 18, 16384


def done(outcome):
    if outcome != 0:
        raise OSError(ctypes.get_errno())


def attempts():
    yield "proc", lambda: done(libc.mount(b"proc", SCRATCH, b"proc", 0, None))
    yield "sysfs", lambda: done(libc.mount(b"sysfs", SCRATCH, b"sysfs", 0, None))
    yield "tmpfs", lambda: done(libc.mount(b"none", SCRATCH, b"tmpfs", 0, None))
    yield "bind", lambda: done(libc.mount(b"/", SCRATCH, None, BIND, None))
    yield "writable", lambda: done(libc.mount(None, b"/", None, BIND | REMOUNT, None))
    yield "private", lambda: done(libc.mount(None, b"/", None, PRIVATE | RECURSIVE, None))
    yield "umount", lambda: done(libc.umount2(SCRATCH, 2))
    yield "umount root", lambda: done(libc.umount2(b"/", 2))
    yield "pivot_root", lambda: done(libc.syscall(155, b".", b"."))
    yield "chroot", lambda: os.chroot(".")
    yield "chroot scratch", lambda: os.chroot(SCRATCH)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
