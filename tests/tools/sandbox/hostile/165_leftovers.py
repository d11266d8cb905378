"""Leaves marks wherever a later program might find them, and looks for those of an earlier one.

Class: leftover state
Must: no-host-file
Status: ok
Files: yes
Value: []
Times: 3
"""

import builtins
import contextlib
import fractions
import json
import math
import os
import sys


def solution():
    mark = "canary_left_over"
    found = [module.__name__ for module in (builtins, json, math, os, sys, fractions) if hasattr(module, mark)]
    found += ["environment"] if mark in os.environ else []
    found += ["modules"] if mark in sys.modules else []
    found += ["path"] if mark in sys.path else []
    found += ["globals"] if mark in globals() else []
    for module in (builtins, json, math, os, sys, fractions):
        setattr(module, mark, True)
    os.environ[mark] = "1"
    sys.modules[mark] = json
    sys.path.append(mark)
    globals()[mark] = True
    for folder in (".", "/tmp", "/w", "/dev/shm"):
        path = os.path.join(folder, mark)
        with contextlib.suppress(OSError):
            found += [path] if os.path.exists(path) else []
            with open(path, "w") as file:
                file.write(mark)
    return found
