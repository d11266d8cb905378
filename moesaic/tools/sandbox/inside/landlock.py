"""Landlock: rules on files, TCP ports and signals that a process lays on itself and never gets rid of (Linux 5.13).

It is the second wall behind namespaces and the system-call filter, never the only one: it does not govern `stat`,
`access`, `chdir`, `chmod`, `chown`, `utime` or `setxattr`. All rights that the kernel knows, up to interface 7, are
handled, so that what no rule grants is refused.
"""

import os
import struct
from collections.abc import Callable, Mapping

from moesaic.tools.sandbox.inside import libc

__all__ = ["READ", "READ_WRITE_FILE", "SCRATCH", "interface", "make_ruleset", "restriction"]

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE = 1 << 13, 1 << 14

READ = _READ_FILE | _READ_DIR
"""Files and folders may be read."""
READ_WRITE_FILE = _READ_FILE | _WRITE_FILE | _TRUNCATE
"""One file may be read and written."""
SCRATCH = READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
"""Ordinary files and folders may be made and removed; no devices, sockets, pipes or links, and nothing is executed."""

_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | 1 << 15  # those that apply to what is no folder
_RIGHTS_BY_INTERFACE = (0, 13, 14, 15, 15, 16)  # how many rights on files interface 0, 1, ... knows
_NET_INTERFACE, _SCOPE_INTERFACE = 4, 6
_BIND_AND_CONNECT = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
_CREATE_VERSION = 1
_RULE_PATH_BENEATH = 1


def interface() -> int:
    """The kernel's Landlock interface, 0 if it has none or does not let this process use it."""
    try:
        return libc.syscall("landlock_create_ruleset", None, 0, _CREATE_VERSION)
    except OSError:
        return 0


def make_ruleset(version: int, grants: Mapping[str, int]) -> int:
    """A descriptor of rules that refuse everything except `grants` (path -> rights); `version` is at least 1.

    Raises:
        OSError: the kernel refuses, or a path is not there.
    """
    handled = (1 << _RIGHTS_BY_INTERFACE[min(version, len(_RIGHTS_BY_INTERFACE) - 1)]) - 1
    attributes = struct.pack("=Q", handled)
    if version >= _NET_INTERFACE:
        attributes += struct.pack("=Q", _BIND_AND_CONNECT)
    if version >= _SCOPE_INTERFACE:
        attributes += struct.pack("=Q", _ABSTRACT_SOCKETS_AND_SIGNALS)
    ruleset = libc.syscall("landlock_create_ruleset", attributes, len(attributes), 0)
    for path, rights in grants.items():
        rights &= handled if os.path.isdir(path) else handled & _FILE_RIGHTS
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            libc.syscall("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
        finally:
            os.close(descriptor)
    return ruleset


def restriction(ruleset: int) -> Callable[[], int]:
    """The call that lays the rules of this descriptor on the process that makes it, for good; needs `no_new_privs`."""
    return libc.prepared("landlock_restrict_self", ruleset, 0)
