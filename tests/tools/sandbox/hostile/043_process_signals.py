"""Signals its parents, the host's processes and every group.

Class: processes
Must: no-signal
Status: ok
Value: []
"""

import os
import signal

PIDS = {int("@PID@"), int("@PARENT@"), os.getppid(), 1} - {0}


def attempts():
    for pid in PIDS:
        yield f"probe {pid}", lambda pid=pid: os.kill(pid, 0)
        yield f"user {pid}", lambda pid=pid: os.kill(pid, signal.SIGUSR1)
        yield f"group {pid}", lambda pid=pid: os.killpg(pid, signal.SIGUSR1)
    yield "stop canary", lambda: os.kill(int("@PID@"), signal.SIGSTOP)
    yield "kill canary", lambda: os.kill(int("@PID@"), signal.SIGTERM)
    yield "everybody", lambda: os.kill(-1, 0)
    yield "own group", lambda: os.kill(0, 0)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
