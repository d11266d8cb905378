"""Runs bytecode that no compiler would write, and damages the interpreter's own constants.

Class: crashes
Must: no-core
Status: crashed, error, ok, timeout, memory
Value: anything
Timeout: 2
"""


def function(argument):
    return argument


def solution():
    code = function.__code__
    names = {"co_code": bytes(range(255)) * 4, "co_stacksize": 0, "co_consts": (), "co_names": ()}
    function.__code__ = code.replace(**names)  # type: ignore[arg-type]
    return function(1)
