"""Opens sockets that see or forge packets.

Class: network
Must: no-network
Status: ok
Value: []
"""

import socket

RAW, PACKET = socket.SOCK_RAW, 17  # AF_PACKET


def attempts():
    yield "icmp", lambda: socket.socket(socket.AF_INET, RAW, socket.IPPROTO_ICMP)
    yield "icmp6", lambda: socket.socket(socket.AF_INET6, RAW, 58)
    yield "ping", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    yield "ip", lambda: socket.socket(socket.AF_INET, RAW, 255)
    yield "packet", lambda: socket.socket(PACKET, RAW, 0x0300)
    yield "packet datagram", lambda: socket.socket(PACKET, socket.SOCK_DGRAM, 0x0300)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
