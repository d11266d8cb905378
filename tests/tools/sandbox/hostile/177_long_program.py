"""Is four megabytes long.

Class: program text
Must: contained
Status: ok, error, refused, memory
Value: "read"
Timeout: 60
"""

# @PADDING@
result = "read"
