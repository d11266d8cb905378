"""Opens the memory, the environment and the descriptors of processes of the host.

Class: processes
Must: no-secret
Status: ok
Value: []
"""

import os


def attempts():
    for pid in ("@PID@", "@PARENT@", str(os.getppid()), "1", "self"):
        for name in ("mem", "environ", "maps", "fd/0", "cwd", "root", "task", "stack", "syscall", "pagemap"):
            path = f"/proc/{pid}/{name}"
            yield path, lambda path=path: os.open(path, os.O_RDONLY)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
