"""A kernel that lacks something, for the process that asks and for all that it starts, for good."""

import ctypes
import errno

from moesaic.tools.sandbox.bpf import ALLOW, assemble, errno_action
from moesaic.tools.sandbox.inside import libc
from moesaic.tools.sandbox.inside.privileges import Filter
from moesaic.tools.sandbox.syscalls import machine

__all__ = ["forgo_landlock"]

_LANDLOCK = (444, 445, 446)
"""landlock_create_ruleset and its two companions, on every architecture."""


def forgo_landlock() -> None:
    """Have Landlock's calls fail as on a kernel that never heard of them.

    Raises:
        RuntimeError: they still do something.
    """
    table = machine()
    missing = dict.fromkeys(_LANDLOCK, errno_action(errno.ENOSYS))
    program = assemble(missing, architecture=table.architecture, default=ALLOW, other_tables_from=None)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    Filter(program).lay()
    asked = ctypes.CDLL(None, use_errno=True).syscall(_LANDLOCK[0], None, 0, 1)
    if asked != -1 or ctypes.get_errno() != errno.ENOSYS:
        raise RuntimeError("the kernel still has Landlock")
