"""Looks for descriptors beyond its own pipes: sockets, folders, files, anything that can be used or asked.

Class: inherited descriptors
Must: no-network, no-host-file
Status: ok
Value: []
"""

import os
import socket
import stat

KINDS = {stat.S_IFSOCK: "socket", stat.S_IFDIR: "folder", stat.S_IFBLK: "disk"}


def kind(descriptor):
    found = KINDS.get(stat.S_IFMT(os.fstat(descriptor).st_mode))
    if found is None:
        raise OSError(f"{descriptor} is a pipe, a null device or a file")


def readable(descriptor):
    if b"canary" not in os.pread(descriptor, 4096, 0):
        raise OSError("nothing of interest")


def attempts():
    for descriptor in range(3, 256):
        yield f"{descriptor} kind", lambda fd=descriptor: kind(fd)
        yield f"{descriptor} listdir", lambda fd=descriptor: os.listdir(fd)
        yield f"{descriptor} openat", lambda fd=descriptor: os.open("etc/passwd", os.O_RDONLY, dir_fd=fd)
        yield f"{descriptor} secret", lambda fd=descriptor: readable(fd)
        yield f"{descriptor} peer", lambda fd=descriptor: socket.socket(fileno=os.dup(fd)).getpeername()


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
