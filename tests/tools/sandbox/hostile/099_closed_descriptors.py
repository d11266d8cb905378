"""Closes every descriptor before it answers.

Class: forged results
Must: contained
Status: ok, error, crashed, no_result
Value: anything
"""

import os


def solution():
    os.closerange(0, 1024)
    return 1
