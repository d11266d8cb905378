"""Mounts through the newer calls, which older filters forget (fsopen, open_tree, move_mount, mount_setattr).

Class: mounts
Must: no-host-file
Status: ok, error, forbidden
Files: yes
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    outcome = libc.syscall(number, *arguments)
    if outcome < 0:
        raise OSError(ctypes.get_errno())


def attempts():
    here = ctypes.c_int(-100)
    yield "open_tree", lambda: call(428, here, b"/", 1)
    yield "open_tree attributes", lambda: call(467, here, b"/", 1, None, 0)
    yield "move_mount", lambda: call(429, here, b"/", here, b".", 0)
    yield "fsopen", lambda: call(430, b"proc", 0)
    yield "fsopen tmpfs", lambda: call(430, b"tmpfs", 1)
    yield "fspick", lambda: call(433, here, b"/", 0)
    yield "mount_setattr", lambda: call(442, here, b"/", 0, ctypes.create_string_buffer(32), 32)
    yield "statmount", lambda: call(457, ctypes.create_string_buffer(24), ctypes.create_string_buffer(512), 512, 0)
    request = ctypes.create_string_buffer(b"\x18\0\0\0" + b"\0" * 4 + b"\xff" * 8 + b"\0" * 8)
    yield "listmount", lambda: call(458, request, ctypes.create_string_buffer(512), 64, 0)
    yield "openat2", lambda: call(437, here, b"@FILE@", ctypes.create_string_buffer(24), 24)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
