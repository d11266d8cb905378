"""Sends datagrams to a socket on the host's loopback address.

Class: network
Must: no-network
Status: ok
Value: []
"""

import socket

ADDRESS = ("127.0.0.1", int("@PORT@"))


def connected():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        datagram.connect(ADDRESS)
        datagram.send(b"@MARK@")


def attempts():
    yield "sendto", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"@MARK@", ADDRESS)
    yield "send", connected


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
