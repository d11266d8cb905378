"""Has the kernel signal another process whenever one of its own pipes moves (F_SETOWN, F_SETSIG, O_ASYNC).

Class: processes
Must: no-signal
Status: ok
Value: []
"""

import fcntl
import os
import struct

SET_SIGNAL, SET_OWNER_EX, NOTIFY, LEASE = 10, 15, 1026, 1024
USER_SIGNAL = 10


def notified(descriptor, owner):
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, owner)
    fcntl.fcntl(descriptor, SET_SIGNAL, USER_SIGNAL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    for _ in range(3):
        os.write(descriptor, b"\n")


def own_pipe(owner):
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, owner)
    fcntl.fcntl(reader, SET_SIGNAL, USER_SIGNAL)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
    os.write(writer, b"\n")


def attempts():
    for owner in {int("@PID@"), int("@PARENT@"), os.getppid()} - {0}:
        for descriptor in (0, 1, 2):
            yield f"{descriptor} for {owner}", lambda fd=descriptor, owner=owner: notified(fd, owner)
        yield f"pipe for {owner}", lambda owner=owner: own_pipe(owner)
        yield f"extended for {owner}", lambda owner=owner: fcntl.fcntl(1, SET_OWNER_EX, struct.pack("ii", 1, owner))
    yield "lease", lambda: fcntl.fcntl(0, LEASE, 1)
    yield "notify", lambda: fcntl.fcntl(0, NOTIFY, 1)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
