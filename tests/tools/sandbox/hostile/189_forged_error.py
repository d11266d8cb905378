"""Writes the frame of an error whose texts are as long as a frame may be, and then another frame that says ok.

Class: forged results
Must: plain
Status: error, no_result, result_limit, crashed
"""

import json
import os


def solution():
    texts = {"type": "T\n" * 5000, "message": "\ud800\x1b[2J" * 3000, "traceback": "File <x>\n" * 1000}
    for outcome in ({"outcome": "error", "error": texts}, {"outcome": "ok", "value": "forged"}):
        body = json.dumps(outcome).encode()
        os.write(3, len(body).to_bytes(4, "big") + body)
    os._exit(0)
