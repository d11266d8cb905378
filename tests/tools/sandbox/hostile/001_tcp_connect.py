"""Connects to a server on the host's loopback addresses.

Class: network
Must: no-network
Status: ok
Value: []
"""

import socket

PORT = int("@PORT@")


def plain():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        stream.settimeout(1)
        stream.connect(("127.0.0.1", PORT))
        stream.sendall(b"@MARK@")


def attempts():
    yield "create_connection", lambda: socket.create_connection(("127.0.0.1", PORT), 1).sendall(b"@MARK@")
    yield "connect", plain
    yield "ipv6", lambda: socket.create_connection(("::1", PORT), 1)
    yield "all interfaces", lambda: socket.create_connection(("0.0.0.0", PORT), 1).sendall(b"@MARK@")


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
