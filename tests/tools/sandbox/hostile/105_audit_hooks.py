"""Adds an audit hook that refuses whatever its reporter does next.

Class: hooks
Must: contained
Status: ok, error, crashed, no_result, timeout
Value: anything
Timeout: 2
"""

import sys


def refuse(event, arguments):
    raise RuntimeError(event)


def solution():
    sys.addaudithook(refuse)
    return 1
