"""Writes the very frame that its reporter would write, with bytes that are no text.

Class: forged results
Must: plain
Status: ok, error, no_result, crashed, result_limit
Value: anything
"""

import os

VALUE = b'"\xff\xfe\xc3"'


def solution():
    body = b'{"outcome": "ok", "value": ' + VALUE + b"}"
    os.write(3, len(body).to_bytes(4, "big") + body)
    os._exit(0)
