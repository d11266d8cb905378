"""Writes the very frame that its reporter would write, with numbers that are none once they are read.

Class: forged results
Must: plain
Status: ok, error, no_result, crashed, result_limit
Value: anything
"""

import os

VALUE = b"[1e999, -1e999, 1E400]"


def solution():
    body = b'{"outcome": "ok", "value": ' + VALUE + b"}"
    os.write(3, len(body).to_bytes(4, "big") + body)
    os._exit(0)
