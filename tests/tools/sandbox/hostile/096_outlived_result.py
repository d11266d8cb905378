"""Goes on after its answer: at exit, when objects die, and in whatever the reporter calls.

Class: forged results
Must: bounded, plain
Status: ok, timeout, error
Value: anything
Timeout: 2
"""

import atexit
import os
import sys
import time


def late():
    while True:
        for descriptor in range(1, 16):
            try:
                os.write(descriptor, b"late")
            except OSError:
                time.sleep(0.001)


class Mortal:
    def __del__(self):
        late()


atexit.register(late)
sys.unraisablehook = lambda *_: late()
mortal = Mortal()
result = "first"
