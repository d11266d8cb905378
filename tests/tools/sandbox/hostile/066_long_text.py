"""Multiplies a text until it would fill the memory a hundred times.

Class: bombs
Must: contained
Status: memory
Memory: 128
"""


def solution():
    return len("x" * 10**11)
