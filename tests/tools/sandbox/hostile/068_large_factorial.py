"""Spins in C code that looks at no signal for long.

Class: bombs
Must: bounded
Status: timeout, memory
Timeout: 1
"""

import math


def solution():
    return math.factorial(50_000_000) % 10
