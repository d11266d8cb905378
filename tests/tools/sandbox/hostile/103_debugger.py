"""Stops in the debugger, which waits for commands.

Class: stdin
Must: bounded
Status: ok, error, no_result
Value: anything
"""


def solution():
    breakpoint()
    return "passed"
