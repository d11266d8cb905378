"""Raises its own limits.

Class: limits
Must: contained
Status: ok
Value: []
"""

import resource

NAMES = ("AS", "CPU", "FSIZE", "NOFILE", "NPROC", "STACK", "MEMLOCK", "MSGQUEUE", "NICE", "RTPRIO", "SIGPENDING")


def attempts():
    for name in NAMES:
        which = getattr(resource, f"RLIMIT_{name}")
        yield f"{name} unlimited", lambda which=which: resource.setrlimit(which, (-1, -1))
        yield f"{name} more", lambda which=which: resource.setrlimit(which, (1 << 40, 1 << 40))
        yield f"{name} by prlimit", lambda which=which: resource.prlimit(0, which, (-1, -1))


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
