# mypy: ignore-errors
"""Replaces its streams by objects that never end, or by nothing.

Class: results
Must: bounded
Status: ok, error, timeout, no_result
Value: anything
Timeout: 2
"""

import sys


class Stream:
    encoding = "utf-8"

    def write(self, text):
        while True:
            text += text[:1]

    def flush(self):
        while True:
            self.encoding = "x"


sys.stdout = None
sys.stderr = Stream()
sys.__stdout__ = sys.__stderr__ = Stream()
result = 1
