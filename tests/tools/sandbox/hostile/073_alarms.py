"""Sets alarms and timers that end or disturb the process.

Class: signals
Must: bounded
Status: ok, error, crashed, timeout, forbidden
Value: anything
Timeout: 2
"""

import signal
import time


def solution():
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.001)
    time.sleep(1)
    return "slept"
