"""Loads a pickle that runs a command, and a shelf, and a YAML-like literal.

Class: exec
Must: no-process, no-host-file
Status: ok
Files: yes
Value: []
"""

import os
import pickle


class Command:
    def __reduce__(self):
        return (os.system, ("touch @FOLDER@/@MARK@",))


class Reader:
    def __reduce__(self):
        return (os.open, ("@FILE@", os.O_RDONLY))


def solution():
    ran = []
    for thing in (Command(), Reader()):
        try:
            outcome = pickle.loads(pickle.dumps(thing))
        except Exception:
            continue
        if isinstance(thing, Reader) or outcome == 0:
            ran.append(type(thing).__name__)
    return ran
