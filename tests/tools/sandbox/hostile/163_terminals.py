"""Types into the terminal of whoever started it, and takes it over.

Class: terminals
Must: contained
Status: ok, error
Value: []
"""

import fcntl
import os
import struct

CALLS = {"type": 0x5412, "take": 0x540E, "discipline": 0x5423, "console": 0x541C, "redirect": 0x541D, "group": 0x5410}
OTHERS = {"block size": 0x1260, "interface": 0x8927, "asynchronous": 0x5452, "clone": 0x40049409, "freeze": 0xC0045877}


def attempts():
    for descriptor in (0, 1, 2, 3):
        for name, number in (CALLS | OTHERS).items():
            yield f"{name} {descriptor}", lambda fd=descriptor, n=number: fcntl.ioctl(fd, n, struct.pack("i", 1))
    yield "foreground", lambda: os.tcsetpgrp(0, os.getpid())
    yield "terminal", lambda: os.open("/dev/tty", os.O_RDWR)
    yield "name", lambda: os.ttyname(0)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
