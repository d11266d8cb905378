"""Writes files where the host would see them.

Class: files
Must: no-host-file
Status: ok
Value: []
"""

import os
import sys

LIBRARY = os.path.dirname(os.__file__)
FOLDERS = (
    "@FOLDER@",
    "/",
    "/etc",
    "/usr",
    "/usr/lib",
    "/var/tmp",
    "/var/spool/cron",
    "/dev/shm",
    "/run",
    "/root",
    "/home",
    "/proc",
    "/sys",
    LIBRARY,
    os.path.join(LIBRARY, "site-packages"),
    sys.prefix,
)


def write(folder):
    with open(os.path.join(folder, "@MARK@"), "w") as file:
        file.write("@MARK@")


def attempts():
    for folder in FOLDERS:
        yield f"file in {folder}", lambda folder=folder: write(folder)
        yield f"folder in {folder}", lambda folder=folder: os.mkdir(os.path.join(folder, "@MARK@"))
        yield f"nameless in {folder}", lambda folder=folder: os.open(folder, os.O_TMPFILE | os.O_RDWR)
    yield "append", lambda: os.open("@FILE@", os.O_WRONLY | os.O_APPEND)
    yield "truncate", lambda: os.open("@FILE@", os.O_WRONLY | os.O_TRUNC)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
