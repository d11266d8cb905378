"""Takes every builtin, module and import hook away before it answers.

Class: forged results
Must: plain
Status: ok, error, crashed, no_result
Value: anything
"""

import builtins
import sys


def solution():
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.modules.clear()
    builtins.__dict__.clear()
    return 1
