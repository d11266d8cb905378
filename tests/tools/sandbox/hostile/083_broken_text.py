"""Answers with, prints and raises texts that hold halves of surrogate pairs, null characters and terminal commands.

Class: results
Must: plain
Status: ok, error
Value: anything
"""

import sys


def solution():
    text = "\ud800\x00\x1b]0;title\x07\x1b[2J\u202e中文\udfff"
    sys.stdout.buffer.write(b"\xff\xfe\x00\x1b[31m\xc3")
    sys.stderr.write(ascii(text))
    return {text: [text, text.encode("utf-8", "surrogatepass").decode("latin-1")]}
