"""Becomes another user, above all root.

Class: users
Must: no-host-file
Status: ok
Value: []
"""

import os


def is_root():
    if os.getuid() != 0 and os.geteuid() != 0:
        raise PermissionError


def attempts():
    yield "is root", is_root
    yield "setuid", lambda: os.setuid(0)
    yield "seteuid", lambda: os.seteuid(0)
    yield "setreuid", lambda: os.setreuid(0, 0)
    yield "setresuid", lambda: os.setresuid(0, 0, 0)
    yield "setgid", lambda: os.setgid(0)
    yield "setresgid", lambda: os.setresgid(0, 0, 0)
    yield "setgroups", lambda: os.setgroups([0])
    yield "another", lambda: os.setresuid(12345, 12345, 12345)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
