"""Takes memory in small pieces up to 1 GiB, and answers with how many MiB it got.

Class: bombs
Must: contained
Status: ok, memory
Value: at most 136
Memory: 128
"""


def solution():
    held: list[bytearray] = []
    try:
        while len(held) < 256:
            held.append(bytearray(4 << 20))
    except MemoryError:
        return len(held) * 4
    return len(held) * 4
