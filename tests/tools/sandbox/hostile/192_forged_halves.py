"""Writes the very frame that its reporter would write, with halves of characters in texts and names.

Class: forged results
Must: plain
Status: ok, error, no_result, crashed, result_limit
Value: anything
"""

import os

VALUE = b'{"a": "\\ud800", "\\udc00": 1}'


def solution():
    body = b'{"outcome": "ok", "value": ' + VALUE + b"}"
    os.write(3, len(body).to_bytes(4, "big") + body)
    os._exit(0)
