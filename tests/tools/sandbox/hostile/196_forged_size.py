"""Writes the very frame that its reporter would write, with a value that is larger than a value may be.

Class: forged results
Must: plain
Status: ok, error, no_result, crashed, result_limit
Value: anything
"""

import os

VALUE = b'"' + b"x" * 150_000 + b'"'


def solution():
    body = b'{"outcome": "ok", "value": ' + VALUE + b"}"
    os.write(3, len(body).to_bytes(4, "big"))
    while body:
        body = body[os.write(3, body) :]
    os._exit(0)
