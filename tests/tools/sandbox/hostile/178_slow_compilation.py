"""Takes long to compile: a constant that is computed beforehand, and an expression of many parts.

Class: program text
Must: bounded
Status: ok, timeout, memory, error
Value: anything
Timeout: 2
"""

result = len(eval("[" + ",".join(["(1 if x else 2)"] * 30_000) + "]", {"x": 1})) + len(str(3**5_000) * 3)
