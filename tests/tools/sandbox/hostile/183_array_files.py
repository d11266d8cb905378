"""Has numpy read, map and write files of the host, and unpickle a command.

Class: scientific packages
Must: no-host-file, no-process, no-secret
Status: ok, error
Value: []
"""

import io
import os
import pickle

import numpy as np


class Command:
    def __reduce__(self):
        return (os.open, ("@FILE@", os.O_RDONLY))


def unpickled():
    np.load(io.BytesIO(pickle.dumps(Command())), allow_pickle=True)


def attempts():
    yield "fromfile", lambda: np.fromfile("@FILE@", dtype=np.uint8)
    yield "memmap", lambda: np.memmap("@FILE@", dtype=np.uint8, mode="r")
    yield "writing memmap", lambda: np.memmap("@FOLDER@/@MARK@", dtype=np.uint8, mode="w+", shape=(4,))
    yield "save", lambda: np.save("@FOLDER@/@MARK@", np.zeros(2))
    yield "text", lambda: np.loadtxt("@FILE@", dtype=str)
    yield "pickle", unpickled


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
