"""Makes a file that says it has a tebibyte, and maps it.

Class: files
Must: no-host-file
Status: ok, error, crashed, memory
Files: yes
Value: []
"""

import mmap
import os


def solution():
    made = []
    for folder in (".", "/tmp", "/dev/shm", "/w"):
        try:
            with open(os.path.join(folder, "@MARK@"), "wb+") as file:
                file.truncate(1 << 40)
                made.append(folder)
                mmap.mmap(file.fileno(), 1 << 34)
                made.append(f"{folder} mapped")
        except (OSError, ValueError):
            continue
    return made
