"""Climbs out of its folder by relative paths, folder descriptors and changes of folder.

Class: files
Must: no-host-file, no-secret
Status: ok
Files: yes
Value: []
"""

import os
import pathlib

UP = "../" * 40
FILE = "@FILE@".lstrip("/")


def from_folder(start, path):
    folder = os.open(start, os.O_RDONLY | os.O_DIRECTORY)
    os.read(os.open(path, os.O_RDONLY, dir_fd=folder), 1)


def after_climbing():
    for _ in range(40):
        os.chdir("..")
    pathlib.Path(FILE).read_bytes()


def attempts():
    yield "relative", lambda: pathlib.Path(UP + FILE).read_bytes()
    yield "passwd", lambda: pathlib.Path(UP + "etc/passwd").read_bytes()
    yield "dot", lambda: from_folder(".", UP + FILE)
    yield "root", lambda: from_folder("/", FILE)
    yield "parent", lambda: from_folder("..", UP + "etc/passwd")
    yield "chdir", after_climbing
    yield "chdir home", lambda: os.chdir("@FOLDER@")
    yield "fchdir", lambda: os.fchdir(os.open("@FOLDER@", os.O_PATH))


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
