"""Makes another interpreter in its process, without this one's hooks, and runs its attempt there.

Class: introspection
Must: no-network, no-host-file
Status: ok, error, crashed
Value: []
"""

import importlib

TEXT = """
import os
for attempt in (
    lambda: __import__("socket").create_connection(("127.0.0.1", @PORT@), 1).sendall(b"@MARK@"),
    lambda: open("@FOLDER@/@MARK@", "w").close(),
    lambda: os.kill(@PID@, 15),
):
    try:
        attempt()
    except Exception as error:
        last = error
"""


def solution():
    for name in ("_xxsubinterpreters", "_interpreters"):
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        interpreters.run_string(interpreters.create(), TEXT)
    return []
