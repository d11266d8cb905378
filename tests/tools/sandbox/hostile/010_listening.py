"""Opens a server of its own, on which something outside could call in.

Class: network
Must: no-network
Status: ok
Files: yes
Value: []
"""

import socket


def attempts():
    yield "tcp", lambda: socket.create_server(("127.0.0.1", 0))
    yield "everywhere", lambda: socket.create_server(("", 0))
    yield "unix", lambda: socket.socket(socket.AF_UNIX).bind("@MARK@")
    yield "pair", socket.socketpair


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
