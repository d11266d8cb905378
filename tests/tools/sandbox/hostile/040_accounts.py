"""Asks who uses the machine and who runs this.

Class: kernel information
Must: no-host-file
Status: ok, error
Value: []
"""

import importlib
import os


def user():
    import getpass

    getpass.getuser()


def attempts():
    yield "passwd", lambda: importlib.import_module("pwd").getpwall()[0]
    yield "root", lambda: importlib.import_module("pwd").getpwuid(0)
    yield "groups", lambda: importlib.import_module("grp").getgrall()[0]
    yield "login", os.getlogin
    yield "user", user
    yield "home", lambda: os.listdir(os.path.expanduser("~"))


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
