"""Writes a shared library and loads it; loads others from wherever they may be.

Class: machine code
Must: no-host-file, no-process
Status: ok, error, crashed
Files: yes
Value: []
"""

import ctypes
import importlib.machinery


def found():
    from ctypes import util

    ctypes.CDLL(util.find_library("rt-not-there") or "/not-there.so")


def attempts():
    yield "found", found
    yield "own library", written
    yield "own module", lambda: importlib.machinery.ExtensionFileLoader("m", "./@MARK@.so").load_module("m")
    yield "the host's", lambda: ctypes.CDLL("@FOLDER@/library.so")


def written():
    with open("./@MARK@.so", "wb") as file:
        file.write(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + bytes(44))
    ctypes.CDLL("./@MARK@.so")


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
