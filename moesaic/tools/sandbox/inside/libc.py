"""System calls that Python 3.11 has no function for, through ctypes; a failure is an `OSError` that names the call.

The numbers are those of x86-64 and of the generic table (aarch64), where they differ.
"""

import ctypes
import os
from collections.abc import Callable
from typing import TypeAlias

__all__ = [
    "PR_CAPBSET_DROP",
    "PR_CAP_AMBIENT",
    "PR_SET_DUMPABLE",
    "PR_SET_NO_NEW_PRIVS",
    "PR_SET_PDEATHSIG",
    "PR_SET_SECUREBITS",
    "mount",
    "pivot_root",
    "prctl",
    "prepared",
    "setns",
    "syscall",
    "umount",
    "unshare",
]

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47

_MACHINE = os.uname().machine
_NUMBERS = {
    "x86_64": {"capset": 126, "pivot_root": 155, "prctl": 157, "seccomp": 317},
    "aarch64": {"capset": 91, "pivot_root": 41, "prctl": 167, "seccomp": 277},
}.get(_MACHINE, {}) | {
    "close_range": 436,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def _checked(name: str, result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


Argument: TypeAlias = "int | bytes | ctypes.Array[ctypes.c_char] | None"


def prepared(name: str, *arguments: Argument) -> Callable[[], int]:
    """The call of this name, to be made later: what is prepared before a fork costs the child nothing.

    Integers are passed as C longs, bytes by address. Made, it gives the call's result, or an `OSError`: it failed, or
    this machine's number of it is not known.
    """
    number = _NUMBERS.get(name)
    make, values = _LIBC.syscall, (-1 if number is None else number, *arguments)
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in values]

    def call() -> int:
        if number is None:
            raise OSError(38, f"{name}: not known on {_MACHINE}")
        result: int = make(*converted)
        return result if result >= 0 else _checked(name, result)

    return call


def syscall(name: str, *arguments: Argument) -> int:
    """Make the call of this name, as `prepared` says.

    Raises:
        OSError: it failed, or this machine's number of it is not known.
    """
    return prepared(name, *arguments)()


def prctl(option: int, *arguments: int) -> None:
    """Set an attribute of this process; arguments that are not given are 0."""
    syscall("prctl", option, *[*arguments, 0, 0, 0, 0][:4])


def unshare(flags: int) -> None:
    """Leave the namespaces of these kinds for new ones."""
    _checked("unshare", _LIBC.unshare(flags))


def setns(descriptor: int, kind: int) -> None:
    """Enter a namespace of a process whose descriptor this is."""
    _checked("setns", _LIBC.setns(descriptor, kind))


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount `source` on `target`."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, options)]
    result = _LIBC.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3])
    _checked(f"mount {source or kind or ''} on {target}", result)


def umount(target: str, flags: int) -> None:
    """Take a mount away."""
    _checked(f"umount {target}", _LIBC.umount2(os.fsencode(target), flags))


def pivot_root(root: str, old: str) -> None:
    """Make `root` the root, with the former one on `old`."""
    syscall("pivot_root", os.fsencode(root), os.fsencode(old))
