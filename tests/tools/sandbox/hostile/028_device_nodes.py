"""Makes device nodes, pipes and sockets as files, to open a disk or memory through them.

Class: devices
Must: no-host-file
Status: ok
Files: yes
Value: []
"""

import os
import stat

SCRATCH = "."


def attempts():
    for folder in (SCRATCH, "@FOLDER@", "/dev", "."):
        path = os.path.join(folder, "@MARK@")
        yield f"memory in {folder}", lambda path=path: os.mknod(path + "-m", stat.S_IFCHR | 0o600, os.makedev(1, 1))
        yield f"disk in {folder}", lambda path=path: os.mknod(path + "-d", stat.S_IFBLK | 0o600, os.makedev(254, 0))
        yield f"socket in {folder}", lambda path=path: os.mknod(path + "-s", stat.S_IFSOCK | 0o600)
        yield f"whiteout in {folder}", lambda path=path: os.mknod(path + "-w", stat.S_IFCHR | 0o600, 0)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
