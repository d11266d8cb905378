"""Computes a power whose digits would fill the machine, in C code that asks for no signal.

Class: bombs
Must: bounded
Status: timeout, memory
Timeout: 1
"""


def solution():
    return (9**9**9) % 10
