"""Writes the very frame that its reporter would write, with words that are no JSON but that parsers take.

Class: forged results
Must: plain
Status: ok, error, no_result, crashed, result_limit
Value: anything
"""

import os

VALUE = b"[NaN, Infinity, -Infinity]"


def solution():
    body = b'{"outcome": "ok", "value": ' + VALUE + b"}"
    os.write(3, len(body).to_bytes(4, "big") + body)
    os._exit(0)
