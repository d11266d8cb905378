"""Raises a syntax error and a chained error that both point into the host's secret file.

Class: secrets
Must: no-secret, no-host-file
Status: error
"""


def solution():
    try:
        exec(compile("raise ValueError", "@FILE@", "exec"))
    except ValueError as error:
        raise SyntaxError("look", ("@FILE@", 1, 1, None)) from error
