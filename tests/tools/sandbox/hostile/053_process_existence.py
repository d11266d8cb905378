"""Learns which processes the host has, what they have consumed and how they are scheduled.

Class: kernel information
Must: contained
Status: ok, error, forbidden
Value: []
"""

import os
import time


def clock(pid):
    time.clock_gettime(~pid << 3 | 2)


def attempts():
    pid = int("@PID@")
    yield "affinity", lambda: os.sched_getaffinity(pid)
    yield "scheduler", lambda: os.sched_getscheduler(pid)
    yield "parameters", lambda: os.sched_getparam(pid)
    yield "priority", lambda: os.getpriority(os.PRIO_PROCESS, pid)
    yield "group", lambda: os.getpgid(pid)
    yield "session", lambda: os.getsid(pid)
    yield "clock", lambda: clock(pid)
    if os.getppid():
        yield "parent's clock", lambda: clock(os.getppid())


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
