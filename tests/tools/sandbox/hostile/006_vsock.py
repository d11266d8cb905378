"""Reaches for the machine's own vsock address, the way out of a virtual machine.

Class: network
Must: no-network
Status: ok
Value: []
"""

import socket

FAMILY, THIS_MACHINE, ANY = 40, 1, 0xFFFFFFFF


def connect():
    with socket.socket(FAMILY, socket.SOCK_STREAM) as stream:
        stream.settimeout(1)
        stream.connect((THIS_MACHINE, int("@PORT@")))


def attempts():
    yield "socket", lambda: socket.socket(FAMILY, socket.SOCK_STREAM)
    yield "bind", lambda: socket.socket(FAMILY, socket.SOCK_STREAM).bind((ANY, 40404))
    yield "connect", connect


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
