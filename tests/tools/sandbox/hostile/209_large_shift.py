"""Shifts, multiplies and raises integers until they fill the memory, with nothing but the language itself.

Class: bombs
Must: bounded
Status: memory, timeout, error
Memory: 64
Timeout: 3
"""


def solution():
    number = 3
    for _ in range(60):
        number = number * number
    return (number << (1 << 40)) % 7
