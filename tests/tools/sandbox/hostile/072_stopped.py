"""Stops itself, so that nothing in it can notice that its time is over.

Class: signals
Must: bounded
Status: ok, error, timeout, crashed, forbidden
Value: "not stopped"
Timeout: 1
"""

import os
import signal


def solution():
    for stop in (
        lambda: os.kill(os.getpid(), signal.SIGSTOP),
        lambda: signal.raise_signal(signal.SIGSTOP),
        lambda: os.kill(0, signal.SIGTSTP),
    ):
        try:
            stop()
        except OSError:
            continue
    return "not stopped"
