"""Gives back the content of the host's secret file as its answer, on its output and in an error.

Class: files
Must: no-host-file, no-secret
Status: error
"""

import sys


def solution():
    text = ""
    for path in ("@FILE@", "/proc/self/root@FILE@", "@FOLDER@/../@BASENAME@/secret.txt"):
        try:
            with open(path, encoding="utf-8") as file:
                text += file.read()
        except Exception as error:
            text += type(error).__name__
    sys.stdout.write(text)
    sys.stderr.write(text)
    raise RuntimeError(text)
