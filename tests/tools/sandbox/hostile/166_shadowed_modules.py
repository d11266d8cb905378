"""Writes modules into the folders that a later program, or the sandbox itself, might import from.

Class: leftover state
Must: no-host-file
Status: ok
Files: yes
Value: []
Times: 2
"""

import contextlib
import os
import sys

TEXT = "mark = 'canary shadow'\nraise SystemExit(0)\n"
NAMES = ("sitecustomize", "usercustomize", "json", "statistics", "canary_shadow", "__main__")


def solution():
    found = []
    try:
        import canary_shadow  # type: ignore[import-not-found]

        found.append(canary_shadow.mark)
    except (ImportError, SystemExit) as error:
        found += ["ran"] if isinstance(error, SystemExit) else []
    for folder in {*sys.path, ".", "/tmp", "@FOLDER@", os.path.dirname(os.__file__)}:
        for name in NAMES:
            for path in (f"{name}.py", f"__pycache__/{name}.cpython-3{sys.version_info.minor}.pyc", f"{name}.pth"):
                with contextlib.suppress(OSError), open(os.path.join(folder, path), "x") as file:
                    file.write(TEXT)
    return found
