"""Unpacks a small text into eight gigabytes.

Class: bombs
Must: bounded
Status: memory, timeout
Memory: 128
Timeout: 10
"""

import bz2
import zlib


def solution():
    block = zlib.compressobj(9)
    packed = b"".join(block.compress(bytes(1 << 20)) for _ in range(64)) + block.flush()
    twice = bz2.compress(packed * 64)
    unpacked = bz2.decompress(twice)
    return sum(len(zlib.decompress(packed)) for _ in range(2)) + len(unpacked * 10_000)
