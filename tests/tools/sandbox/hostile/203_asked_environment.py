"""Asks for a secret of the environment by its name, with nothing but `os`.

Class: secrets
Must: no-secret
Status: ok, error
Value: [null, null, 0]
Value in monty: [null, null, 0]
"""

import os


def solution():
    known = [name for name in os.environ if "CANARY" in name]
    return [os.getenv("@SECRET_NAME@"), os.environ.get("@SECRET_NAME@"), len(known)]
