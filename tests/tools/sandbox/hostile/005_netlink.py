"""Opens netlink sockets, through which the kernel tells of interfaces, routes, audit and devices.

Class: network
Must: no-network
Status: ok
Value: []
"""

import socket

FAMILY = 16  # AF_NETLINK


def attempts():
    for protocol, name in ((0, "route"), (4, "sock_diag"), (9, "audit"), (15, "uevent"), (16, "generic")):
        yield name, lambda protocol=protocol: socket.socket(FAMILY, socket.SOCK_RAW, protocol).bind((0, 0))


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
