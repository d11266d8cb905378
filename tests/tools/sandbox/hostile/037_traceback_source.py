"""Raises an error whose traceback names the host's secret file as its source: who prints its lines leaks it.

Class: secrets
Must: no-secret, no-host-file
Status: error
"""


def solution():
    exec(compile("\n\n1 / 0", "@FILE@", "exec"))
