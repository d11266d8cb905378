"""Closes every pipe, so that whoever listens hears the end, and goes on for ever.

Class: exits
Must: bounded
Status: timeout, no_result, error
Timeout: 1
"""

import os
import time

os.closerange(0, 1024)
time.sleep(1e6)
result = 1
