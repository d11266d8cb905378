"""Detaches a process from its session, to live on after the run.

Class: processes
Must: no-process
Status: ok
Value: []
"""

import os
import time


def solution():
    try:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(20)
            os._exit(0)
    except OSError:
        return []
    return ["detached"]
