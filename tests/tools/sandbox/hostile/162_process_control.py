"""Loosens what holds it, by prctl: dumping, tracing, what happens when its parent ends, ambient rights, filters.

Class: limits
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
CONTROLS = {
    "survive the parent": (1, 0),
    "dumpable": (4, 1),
    "keep capabilities": (8, 1),
    "strict filter": (22, 1, 0),
    "secure bits": (28, 0),
    "memory map": (35, 1, 0),
    "reaper": (36, 1),
    "ambient": (47, 2, 0, 0, 0),
    "tracer": (0x59616D61, -1),
    "new privileges": (38, 0, 0, 0, 0),
    "machine check": (33, 1, 0, 0, 0),
    "io flusher": (57, 1, 0, 0, 0),
    "core scheduling": (62, 1, 0, 1, 0),
}


def done(outcome):
    if outcome != 0:
        raise OSError(ctypes.get_errno())


def attempts():
    for name, (number, *rest) in CONTROLS.items():
        yield name, lambda number=number, rest=rest: done(libc.prctl(number, *rest))


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
