"""Looks for the programs that run beside it: their processes, their descriptors, their files.

Class: siblings
Must: no-signal
Status: ok
Files: yes
Value: []
At once: 4
"""

import contextlib
import os
import time


def solution():
    found = []
    own = os.getpid()
    with contextlib.suppress(OSError), open("/tmp/sibling", "x") as file:
        file.write("here")
    time.sleep(0.2)
    for pid in range(max(2, own - 40), own + 40):
        if pid == own:
            continue
        for look in (
            lambda pid=pid: os.kill(pid, 0),
            lambda pid=pid: os.getpgid(pid) and 1 / (os.getpgid(pid) != os.getpgid(0)),
            lambda pid=pid: os.listdir(f"/proc/{pid}/fd"),
        ):
            with contextlib.suppress(OSError, ZeroDivisionError):
                look()
                found.append(pid)
    return found
