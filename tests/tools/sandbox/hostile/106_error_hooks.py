"""Raises an error whose text never ends, after it replaced what shows errors.

Class: hooks
Must: bounded
Status: error, timeout, memory, no_result
Timeout: 2
"""

import sys
import traceback


class EndlessError(Exception):
    def __str__(self):
        return "x" + str(self)

    def __repr__(self):
        while True:
            self.args += (1,)
            self.args = self.args[:5]


sys.excepthook = lambda *_: sys.stdout.write("hooked")
traceback.format_exception = traceback.print_exc = lambda *_, **__: ["hooked"]  # type: ignore[assignment]
raise EndlessError(EndlessError())
