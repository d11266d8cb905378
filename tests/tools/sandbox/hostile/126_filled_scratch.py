"""Writes to every folder that it may write to, 300 MiB at most. Answers with the MiB that it wrote.

Class: files
Must: no-host-file
Status: ok, error, crashed, memory
Files: yes
Value: at most 40
Timeout: 60
"""

import os


def filled(folder, budget):
    written = 0
    for number in range(300):
        try:
            with open(os.path.join(folder, f"@MARK@-{number}"), "wb", buffering=0) as file:
                while written < budget:
                    written += file.write(bytes(1 << 20))
        except OSError:
            break
    return written


def solution():
    written = 0
    for folder in (".", "/tmp", "/var/tmp", "/dev/shm", "/w", "/run", "/"):
        written += filled(folder, 300 * (1 << 20) - written)
    return written >> 20
