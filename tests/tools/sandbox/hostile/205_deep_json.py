"""Has JSON read lists in lists, and write what holds itself.

Class: recursion
Must: bounded, no-core
Status: ok, error, memory
Value: []
"""

import json


def cycle():
    inner: list[object] = []
    inner.append(inner)
    return json.dumps(inner)


ATTEMPTS = [
    ("read", lambda: json.loads("[" * 100_000 + "]" * 100_000)),
    ("objects", lambda: json.loads('{"a":' * 100_000 + "1" + "}" * 100_000)),
    ("write", cycle),
    ("digits", lambda: json.loads("9" * 1_000_000)),
]


def solution():
    succeeded = []
    for name, attempt in ATTEMPTS:
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
