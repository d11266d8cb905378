# mypy: ignore-errors
"""Defines names that whoever runs it might use, with answers of its own.

Class: forged results
Must: plain
Status: ok, error
Value: anything
"""

__builtins__ = {"print": 1, "len": lambda _: 0}
__name__ = "moesaic.tools.sandbox"
__file__ = "@FILE@"
__loader__ = __spec__ = None
json = os = sys = status = execution = usage = "mine"
solution = "not callable"
result = {"mine": 1}
