"""Asks for a tebibyte in one piece.

Class: bombs
Must: contained
Status: memory
Memory: 128
"""


def solution():
    return len(bytearray(1 << 40))
