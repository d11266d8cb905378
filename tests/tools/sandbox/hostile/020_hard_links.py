"""Gives files of the host further names, and its own files names on the host.

Class: files
Must: no-host-file
Status: ok
Files: yes
Value: []
"""

import os

SCRATCH = "."


def attempts():
    yield "host file into scratch", lambda: os.link("@FILE@", os.path.join(SCRATCH, "@MARK@"))
    yield "host file beside itself", lambda: os.link("@FILE@", "@FOLDER@/@MARK@")
    yield "passwd", lambda: os.link("/etc/passwd", os.path.join(SCRATCH, "@MARK@-passwd"))
    yield "descriptor", lambda: os.link("/proc/self/fd/0", "@FOLDER@/@MARK@-fd", follow_symlinks=True)
    yield "rename out", lambda: os.rename(os.path.join(SCRATCH, "x"), "@FOLDER@/@MARK@-moved")
    yield "rename in", lambda: os.rename("@FILE@", os.path.join(SCRATCH, "@MARK@-moved"))
    yield "exchange", lambda: os.replace("@FILE@", "@FOLDER@/@MARK@-replaced")


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
