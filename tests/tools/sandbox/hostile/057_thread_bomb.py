"""Starts as many threads as it can, 150 at most.

Class: bombs
Must: no-process
Status: ok, error, memory
Value: at most 32
Timeout: 60
"""

import threading


def solution():
    started = 0
    stop = threading.Event()
    try:
        for _ in range(150):
            threading.Thread(target=stop.wait, args=(5,), daemon=True).start()
            started += 1
    except RuntimeError:
        return started
    finally:
        stop.set()
    return started
