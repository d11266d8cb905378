"""Answers with a mapping whose keys collide once they are text, and that is large once it is written.

Class: results
Must: plain
Status: ok, error
Value: anything
"""


def solution():
    return {1: "number", "1": "text", None: 0, False: 1, (1, 2): 3, 1.5: [b"bytes", {1, 2}, range(3), ...]}
