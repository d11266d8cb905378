# mypy: ignore-errors
"""Tells files that exist from those that do not by the error that a refusal carries.

Class: metadata
Must: no-host-file
Status: ok
Value: []
"""

import os


def answers(path):
    found = []
    for attempt in (
        lambda: os.open(path, os.O_RDONLY),
        lambda: os.open(path, os.O_WRONLY),
        lambda: os.open(path, os.O_RDONLY | os.O_DIRECTORY),
        lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600),
        lambda: os.stat(path),
        lambda: os.chdir(path),
        lambda: os.unlink(path),
        lambda: os.rmdir(path),
        lambda: os.rename(path, path + "@MARK@"),
        lambda: os.truncate(path, 0),
        lambda: os.mkfifo(path),
    ):
        try:
            attempt()
            found.append("done")
        except OSError as error:
            found.append(error.errno)
    return found


def solution():
    return [path for path in ("@FILE@", "/etc/passwd") if answers(path) != answers(path + ".not-there")]
