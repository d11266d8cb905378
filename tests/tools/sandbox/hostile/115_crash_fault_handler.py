"""Ends through the interpreter's own fault functions.

Class: crashes
Must: no-core
Status: crashed, error, no_result, forbidden
"""

import contextlib
import ctypes
import faulthandler

with contextlib.suppress(RuntimeError, OSError):
    faulthandler.dump_traceback_later(0.01, exit=True)
faulthandler._sigsegv()  # type: ignore[attr-defined]
ctypes.pythonapi.Py_FatalError(b"on purpose")
