"""Uses the library files that it may read to be seen by others: locks them, and throws them out of the page cache.

Class: siblings
Must: contained
Status: ok, error
Value: []
"""

import fcntl
import os


def solution():
    done = []
    try:
        library = os.open(os.__file__, os.O_RDONLY)
    except OSError:
        return []
    for name, use in (
        ("lock", lambda: fcntl.flock(library, fcntl.LOCK_EX | fcntl.LOCK_NB)),
        ("shared lock", lambda: fcntl.flock(library, fcntl.LOCK_SH | fcntl.LOCK_NB)),
        ("forget", lambda: os.posix_fadvise(library, 0, 0, os.POSIX_FADV_DONTNEED)),
        ("write", lambda: os.open(os.__file__, os.O_WRONLY)),
        ("owner", lambda: os.fchown(library, -1, -1)),
        ("rights", lambda: os.fchmod(library, 0o644)),
        ("times", lambda: os.utime(library)),
    ):
        try:
            use()
        except OSError:
            continue
        done.append(name)
    return done
