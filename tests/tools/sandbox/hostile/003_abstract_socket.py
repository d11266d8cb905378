"""Connects to a Unix socket in the abstract name space, which no file permission guards.

Class: network
Must: no-network
Status: ok
Value: []
"""

import socket

NAME = "\0@ABSTRACT@"


def stream():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        client.connect(NAME)
        client.sendall(b"@MARK@")


def own_name():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind("\0@MARK@")
        server.listen()


def attempts():
    yield "connect", stream
    yield "bind", own_name


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
