# mypy: ignore-errors
"""Replaces what its reporter would use: JSON, writing, leaving, length, classes.

Class: forged results
Must: plain
Status: ok, error, crashed, no_result, result_limit, timeout
Value: anything
Timeout: 2
"""

import builtins
import io
import json
import json.encoder
import os
import struct
import sys


def forged(*arguments, **options):
    return '{"status": "ok", "value": "patched", "usage": {}}'


def solution():
    json.dumps = json.dump = forged
    json.JSONEncoder.encode = json.JSONEncoder.iterencode = forged
    json.encoder.c_make_encoder = None
    os.write = os._exit = os.writev = forged
    struct.pack = forged
    sys.exit = sys.exc_info = forged
    io.StringIO = io.BytesIO = forged
    builtins.len = lambda thing: 1
    builtins.isinstance = lambda thing, cls: True
    builtins.repr = builtins.str = forged
    return {"true": "answer"}
