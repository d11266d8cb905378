"""Asks for a core dump and aborts.

Class: crashes
Must: no-core
Status: crashed, error, forbidden
Files: yes
"""

import contextlib
import os
import resource

with contextlib.suppress(OSError, ValueError):
    resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))
os.abort()
