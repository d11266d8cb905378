"""Reads and lowers the limits of processes of the host.

Class: processes
Must: no-signal
Status: ok
Value: []
"""

import os
import resource


def attempts():
    for pid in {int("@PID@"), int("@PARENT@"), os.getppid()} - {0}:
        yield f"read {pid}", lambda pid=pid: resource.prlimit(pid, resource.RLIMIT_NOFILE)
        yield f"change {pid}", lambda pid=pid: resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3))


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
