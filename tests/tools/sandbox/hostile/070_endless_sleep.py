"""Sleeps for ever: it costs no processor time, so that only a clock can end it.

Class: bombs
Must: bounded
Status: timeout
Status in monty: timeout, error
Timeout: 1
"""

import time

time.sleep(1e6)
result = 1
