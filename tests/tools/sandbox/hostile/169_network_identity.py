"""Learns the address of the machine's network card.

Class: kernel information
Must: contained
Status: ok, error
Value: []
"""

import uuid

MULTICAST = 1 << 40


def solution():
    return [] if uuid.getnode() & MULTICAST else [hex(uuid.getnode())]
