"""Learns whether files of the host exist, how large they are, and when they were changed.

Class: metadata
Must: no-host-file
Status: ok
Value: []
"""

import glob
import os
import pathlib

PATHS = ("@FILE@", "@FOLDER@", "/etc/passwd", "/var/log", "/proc/1", "/bin/sh")


def there(found):
    if not found:
        raise FileNotFoundError


def attempts():
    for path in PATHS:
        yield f"stat {path}", lambda path=path: os.stat(path)
        yield f"lstat {path}", lambda path=path: os.lstat(path)
        yield f"access {path}", lambda path=path: there(os.access(path, os.F_OK))
        yield f"exists {path}", lambda path=path: there(pathlib.Path(path).exists())
        yield f"glob {path}", lambda path=path: there(glob.glob(path[:-1] + "?"))
        yield f"readlink {path}", lambda path=path: os.readlink(path)
        yield f"statvfs {path}", lambda path=path: os.statvfs(path)
        yield f"attributes {path}", lambda path=path: os.listxattr(path)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
