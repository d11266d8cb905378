"""Answers with an integer of a hundred thousand digits, which takes long to write and to read.

Class: results
Must: plain
Status: ok, error, result_limit
Value: anything
"""

import sys

if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)


def solution():
    return 10**100_000 + 7
