"""Reads an address where nothing is.

Class: crashes
Must: no-core
Status: crashed, error, forbidden
"""

import ctypes

result = ctypes.string_at(1, 8).hex()
