"""Ends without an answer.

Class: results
Must: contained
Status: ok, no_result
Value: null
"""

unused = 1
