"""Leaves at once, past every handler, with the status of success.

Class: exits
Must: contained
Status: no_result, crashed, error
"""

import os

os._exit(0)
