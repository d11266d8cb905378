"""Reads files that belong to the host.

Class: files
Must: no-host-file, no-secret
Status: ok
Value: []
"""

import os
import pathlib

PATHS = (
    "@FILE@",
    "@FOLDER@/secret.txt",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/ssl/openssl.cnf",
    "/var/log/dpkg.log",
    "/boot/config",
    "/usr/bin/env",
    "/bin/sh",
)


def attempts():
    for path in PATHS:
        yield f"open {path}", lambda path=path: pathlib.Path(path).read_bytes()
        yield f"os.open {path}", lambda path=path: os.read(os.open(path, os.O_RDONLY), 1)
        yield f"pathlib {path}", lambda path=path: pathlib.Path(path).read_bytes()


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
