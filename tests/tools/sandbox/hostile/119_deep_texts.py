"""Has parsers recurse: JSON, Python, regular expressions, pickles, literals.

Class: recursion
Must: no-core, bounded
Status: ok, error, crashed, memory
Value: []
Timeout: 60
"""

import ast
import json
import pickle
import re


def solution():
    parsed = []
    for name, parse in (
        ("json", lambda: json.loads("[" * 200_000)),
        ("parentheses", lambda: ast.parse("(" * 5_000 + ")" * 5_000)),
        ("minus", lambda: eval("-" * 50_000 + "1")),
        ("attributes", lambda: compile("a" + ".b" * 100_000, "x", "eval")),
        ("pattern", lambda: re.compile("(" * 20_000 + ")" * 20_000)),
        ("pickle", lambda: pickle.dumps(json.loads("[" * 900 + "]" * 900)) and pickle.loads(b"(" * 10_000)),
    ):
        try:
            parse()
        except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError, pickle.UnpicklingError, EOFError):
            continue
        except re.error:
            continue
        parsed.append(name)
    return [name for name in parsed if name not in ("pickle",)]
