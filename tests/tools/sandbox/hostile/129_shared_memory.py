"""Leaves memory that other processes can open.

Class: shared memory
Must: no-ipc, no-host-file
Status: ok, error
Value: []
"""

import multiprocessing


def memory(**options):
    from multiprocessing import shared_memory

    shared_memory.SharedMemory(**options)


def attempts():
    name = "@MARK@"
    yield "shared", lambda: memory(name=name, create=True, size=1 << 20)
    yield "attached", lambda: memory(name="@SHM@")
    yield "semaphore", lambda: multiprocessing.Semaphore(1)
    yield "array", lambda: multiprocessing.RawArray("b", 10)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
