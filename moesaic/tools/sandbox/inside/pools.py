"""Python's pools of memory for small objects, and how to have none of them half empty.

A new object goes into a hole of a pool that others have left, wherever that is. In a forked child each such hole lies
in a page that is copied first, and the holes of each size lie in several. Once the holes are filled, what a child makes
lies side by side in new pools.
"""

__all__ = ["filled_holes"]

_POOL_BYTES = 1 << 14  # of CPython from 3.10 on, each with a head of 48 bytes; elsewhere this is in vain, and harmless
_HEAD_BYTES = 48
_STEP_BYTES, _LARGEST_BYTES = 16, 512
_MOST_BYTES = 1 << 16
_BARE_BYTES = b"".__sizeof__()


def filled_holes() -> list[bytes]:
    """Objects of every size, as many as fill the holes, of at most 64 KiB a size; they are to be kept."""
    kept = []
    for size in range(_HEAD_BYTES, _LARGEST_BYTES + 1, _STEP_BYTES):
        for _ in range(_MOST_BYTES // size):
            kept.append(bytes(size - _BARE_BYTES))
            if id(kept[-1]) % _POOL_BYTES == _HEAD_BYTES:  # the first one of a new pool
                break
    return kept
