"""Puts its output in the place of every other descriptor, so that what it prints arrives as its answer.

Class: forged results
Must: plain
Status: ok, error, crashed, no_result, result_limit, timeout
Value: anything
Timeout: 2
"""

import os
import sys


def solution():
    for descriptor in range(3, 32):
        try:
            os.fstat(descriptor)
            os.dup2(1, descriptor)
        except OSError:
            continue
    sys.stdout.write('{"status": "ok", "value": "printed"}\n')
    return "answered"
