"""Asks every descriptor for further descriptors, and offers its own to whoever is at the other end (SCM_RIGHTS).

Class: inherited descriptors
Must: no-network, no-host-file
Status: ok, error
Value: []
"""

import array
import ctypes
import os
import socket

libc = ctypes.CDLL(None, use_errno=True)


def wrapped(descriptor):
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=os.dup(descriptor))


def received(descriptor):
    peer = wrapped(descriptor)
    peer.setblocking(False)
    peer.recvmsg(16, socket.CMSG_SPACE(16), socket.MSG_DONTWAIT)


def offered(descriptor):
    rights = array.array("i", [1, 2])
    wrapped(descriptor).sendmsg([b"@MARK@"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def attempts():
    for descriptor in range(32):
        yield f"{descriptor} received", lambda fd=descriptor: received(fd)
        yield f"{descriptor} offered", lambda fd=descriptor: offered(fd)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
