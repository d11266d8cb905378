"""Locks whatever it has open, for the next program to wait for.

Class: leftover state
Must: bounded
Status: ok, error
Value: []
Times: 2
"""

import fcntl


def solution():
    waited = []
    for descriptor in range(16):
        for name, lock in (("flock", fcntl.flock), ("lockf", fcntl.lockf)):
            try:
                lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited.append(f"{name} {descriptor}")
            except (OSError, ValueError):
                continue
    return waited
