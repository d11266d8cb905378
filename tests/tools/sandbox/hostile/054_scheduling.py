"""Takes more of the machine than is its share, and gives processes of the host less.

Class: scheduling
Must: no-signal
Status: ok, error
Value: []
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def done(outcome):
    if outcome < 0:
        raise OSError(ctypes.get_errno())


def attempts():
    pid = int("@PID@")
    fifo, idle = os.sched_param(50), os.sched_param(0)
    yield "nice", lambda: os.nice(-5)
    yield "own priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5)
    yield "real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, fifo)
    yield "disk", lambda: done(libc.syscall(251, 1, 0, 1 << 13))
    yield "priority of another", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19)
    yield "affinity of another", lambda: os.sched_setaffinity(pid, {0})
    yield "policy of another", lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, idle)
    yield "attributes", lambda: done(libc.syscall(314, pid, ctypes.create_string_buffer(b"\x30", 48), 0))
    yield "move pages", lambda: done(libc.syscall(256, pid, 8, ctypes.c_char_p(b"\1"), ctypes.c_char_p(b"\1")))


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
