"""Makes and opens System V shared memory, semaphores and queues.

Class: shared memory
Must: no-ipc
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
CREATE = 0o1666


def done(outcome):
    if outcome < 0:
        raise OSError(ctypes.get_errno())


def attempts():
    key = int("@KEY@")
    yield "memory", lambda: done(libc.shmget(key + 1, 4096, CREATE))
    yield "semaphores", lambda: done(libc.semget(key + 1, 1, CREATE))
    yield "queue", lambda: done(libc.msgget(key + 1, CREATE))
    yield "the host's memory", lambda: done(libc.shmget(key, 0, 0))
    yield "listing", lambda: done(libc.shmctl(0, 13, ctypes.create_string_buffer(256)))


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
