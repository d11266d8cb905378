"""Formats a number to a width of a hundred gigabytes, which restricted interpreters forget.

Class: bombs
Must: bounded
Status: memory, error
Memory: 64
Timeout: 60
"""

width = 10**11
result = len(f"{1:{width}}") + len("{:>{}}".format(1, width)) + len("x".ljust(width))
