"""Lists folders of the host.

Class: metadata
Must: no-host-file
Status: ok
Value: []
"""

import os

FOLDERS = ("@FOLDER@", "/etc", "/var", "/proc", "/sys", "/run", "/boot", "/mnt", "/srv", "/bin")


def walked():
    for _, folders, files in os.walk("/", followlinks=False):
        if "secret.txt" in files or "@BASENAME@" in folders or "passwd" in files:
            return
    raise FileNotFoundError


def attempts():
    for folder in FOLDERS:
        yield f"listdir {folder}", lambda folder=folder: os.listdir(folder)
        yield f"scandir {folder}", lambda folder=folder: next(os.scandir(folder))
    yield "walk", walked


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
