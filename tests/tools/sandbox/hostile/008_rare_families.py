"""Opens sockets of families that few need and that have brought many kernel faults.

Class: network
Must: no-network
Status: ok
Value: []
"""

import socket

FAMILIES = {
    "ax25": 3,
    "x25": 9,
    "key": 15,
    "rds": 21,
    "can": 29,
    "tipc": 30,
    "bluetooth": 31,
    "rxrpc": 33,
    "alg": 38,
    "nfc": 39,
    "kcm": 41,
    "qipcrtr": 42,
    "smc": 43,
    "xdp": 44,
    "mctp": 45,
}


def attempts():
    for name, family in FAMILIES.items():
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            yield f"{name} {kind}", lambda family=family, kind=kind: socket.socket(family, kind)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
