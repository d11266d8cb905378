"""Has every line that is run after its answer run through a function that never returns.

Class: hooks
Must: bounded
Status: ok, error, timeout, crashed, no_result
Value: anything
Timeout: 1
"""

import sys
import threading


def trace(frame, event, argument):
    if frame.f_code.co_name != "solution":
        while True:
            frame = frame.f_back or frame
    return trace


def solution():
    threading.settrace(trace)
    sys.setprofile(trace)
    sys.settrace(trace)
    return 1
