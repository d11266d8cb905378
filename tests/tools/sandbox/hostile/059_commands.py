"""Runs programs of the host.

Class: exec
Must: no-process
Status: ok
Files: yes
Value: []
"""

import os
import subprocess
import sys


def replaced(path):
    os.execv(path, [path, "-c", "pass"])


def attempts():
    yield "system", lambda: 1 / (os.system("true") == 0)
    yield "popen", lambda: 1 / (os.popen("echo here").read() != "")
    yield "run", lambda: subprocess.run(["/bin/true"], check=True, timeout=5)
    yield "python", lambda: subprocess.run([sys.executable, "-c", "pass"], check=True, timeout=5)
    yield "shell", lambda: subprocess.run("true", shell=True, check=True, timeout=5)
    yield "spawn", lambda: os.posix_spawn("/bin/true", ["true"], {})
    yield "shell in its own place", lambda: replaced("/bin/sh")
    yield "python in its own place", lambda: replaced(sys.executable)
    yield "loader", lambda: replaced("/lib64/ld-linux-x86-64.so.2")


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
