"""Opens a file of the host by its handle, past every path (open_by_handle_at).

Class: files
Must: no-host-file, no-secret
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    handle = ctypes.create_string_buffer(144)
    ctypes.c_uint.from_buffer(handle).value = 128
    mount = ctypes.c_int()
    succeeded = []
    if libc.syscall(303, -100, b"@FILE@", handle, ctypes.byref(mount), 0) == 0:
        succeeded.append("name_to_handle_at")
    return succeeded + [folder for folder in (-100, 0, 1, 2, 3, 4, 5) if libc.syscall(304, folder, handle, 0) >= 0]
