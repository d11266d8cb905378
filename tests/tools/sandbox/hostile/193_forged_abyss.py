"""Writes the very frame that its reporter would write, with lists in lists, deeper than any reporter goes.

Class: forged results
Must: plain
Status: ok, error, no_result, crashed, result_limit
Value: anything
"""

import os

VALUE = b"[" * 20_000 + b"1" + b"]" * 20_000


def solution():
    body = b'{"outcome": "ok", "value": ' + VALUE + b"}"
    os.write(3, len(body).to_bytes(4, "big") + body)
    os._exit(0)
