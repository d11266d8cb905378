"""Leaves a word for the next program in the flags of a descriptor that every child inherits.

Class: leftover state
Must: contained
Status: ok, error
Value: []
Times: 3
"""

import fcntl
import os

FLAGS = {"append": os.O_APPEND, "nonblocking": os.O_NONBLOCK, "asynchronous": os.O_ASYNC, "direct": os.O_DIRECT}


def solution():
    found = []
    for descriptor in range(16):
        try:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        except OSError:
            continue
        # A pipe is this run's own, and may be what its owner made it.
        found += [f"{name} {descriptor}" for name, flag in FLAGS.items() if descriptor == 0 and flags & flag]
        for flag in FLAGS.values():
            try:
                fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | flag)
                flags |= flag
            except OSError:
                continue
    return found
