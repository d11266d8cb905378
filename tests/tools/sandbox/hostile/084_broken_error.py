"""Raises an error whose text and name hold halves of surrogate pairs and line feeds.

Class: results
Must: plain
Status: error
"""


def solution():
    raise type("Name\nstatus: ok\x1b[2J", (Exception,), {})("\udc80\x00\n{}\n" + '{"status": "ok", "value": 1}')
