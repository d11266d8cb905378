"""Searches every object of the interpreter for the host's secret.

Class: introspection
Must: no-secret
Status: ok, error
Value: []
"""

import gc
import sys

PREFIX = "moesaic-canary" + "-"


def texts(thing):
    if isinstance(thing, str):
        yield thing
    elif isinstance(thing, bytes):
        yield thing.decode("latin-1")
    elif isinstance(thing, dict):
        yield from (value for value in thing.values() if isinstance(value, str))
    elif isinstance(thing, tuple | list | set | frozenset):
        yield from (value for value in thing if isinstance(value, str))


def solution():
    found = []
    for thing in gc.get_objects():
        for near in (thing, *gc.get_referents(thing)[:50]):
            for text in texts(near):
                start = text.find(PREFIX)
                if start >= 0 and len(text) > start + len(PREFIX) + 8:
                    found.append(text[start : start + 64])
    return found + [word for word in sys.argv if PREFIX in word]
