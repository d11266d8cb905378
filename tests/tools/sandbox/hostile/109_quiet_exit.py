"""Leaves with success and without an answer.

Class: exits
Must: contained
Status: no_result, error, ok
Value: anything
"""

import sys


def solution():
    sys.exit(0)
