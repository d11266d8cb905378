# @BOM@
"""Begins with a byte order mark, and goes on after one.

Class: program text
Must: contained
Status: ok, error, refused
Value: "after"
"""

result = "after"
