"""Reads and lists what the kernel tells of devices, control groups and itself.

Class: proc
Must: no-host-file
Status: ok
Value: []
"""

import os

PATHS = (
    "/sys/kernel/uevent_helper",
    "/sys/kernel/security/lsm",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/release_agent",
    "/sys/class/net",
    "/sys/class/dmi/id/product_uuid",
    "/sys/devices/system/cpu/online",
    "/sys/module",
    "/sys/firmware",
)


def attempts():
    for path in PATHS:
        yield f"open {path}", lambda path=path: os.open(path, os.O_RDONLY)
        yield f"list {path}", lambda path=path: os.listdir(path)
    yield "write", lambda: os.open("/sys/fs/cgroup/cgroup.procs", os.O_WRONLY)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
