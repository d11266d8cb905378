"""Blocks and ignores every signal that can be, and spins.

Class: signals
Must: bounded
Status: timeout
Timeout: 1
"""

import contextlib
import signal

for number in signal.valid_signals():
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_IGN)
with contextlib.suppress(OSError, ValueError):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
while True:
    result = 1
