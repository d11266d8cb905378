"""Hides a forbidden terminal call in the upper half of its number, which the kernel cuts off.

Class: terminals
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    byte = ctypes.create_string_buffer(b"x")
    hidden = [upper << 32 | number for upper in (1, 0x7FFFFFFF) for number in (0x5412, 0x540E, 0x5452, 0x5423)]
    call = libc.syscall
    call.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
    succeeded = [hex(number) for fd in (0, 1, 2) for number in hidden if call(16, fd, number, byte) >= 0]
    upper_call = (1 << 32) + 41
    call.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_long]
    return succeeded + ([hex(upper_call)] if call(upper_call, 2, 1, 0) >= 0 else [])
