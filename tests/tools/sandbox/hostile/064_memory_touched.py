"""Takes and touches up to 1 GiB without ever handling the error.

Class: bombs
Must: contained
Status: memory
Memory: 128
"""


def solution():
    held = [bytes([7]) * (1 << 20) for _ in range(1024)]
    return len(held)
