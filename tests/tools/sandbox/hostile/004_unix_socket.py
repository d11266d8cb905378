"""Connects to a Unix socket that stands in a folder of the host.

Class: network
Must: no-network
Status: ok
Value: []
"""

import socket


def connect(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        client.connect(path)
        client.sendall(b"@MARK@")


def attempts():
    for path in ("@SOCKET@", "/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket", "/dev/log"):
        yield path, lambda path=path: connect(path)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
