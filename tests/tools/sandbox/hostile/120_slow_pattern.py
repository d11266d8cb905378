"""Matches a pattern that needs more steps than there are atoms.

Class: bombs
Must: bounded
Status: timeout
Status in monty: timeout, error, ok
Value: anything
Timeout: 1
"""

import re

result = bool(re.match(r"(a+)+$", "a" * 60 + "b"))
