"""What a process gives up for good: root, capabilities, resources, and nearly every system call."""

import ctypes
import os
import resource
import struct
import sys

from moesaic.tools.sandbox.inside import libc

__all__ = [
    "Filter",
    "drop_capabilities",
    "forbid_capabilities",
    "give_up_root",
    "limit_common_resources",
    "limit_resources",
]

_CAPABILITY_HEADER, _NO_CAPABILITIES = struct.pack("=Ii", 0x20080522, 0), bytes(24)
_AMBIENT_CLEAR_ALL = 4
_SECUREBITS = 0b11101111  # NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE, each locked; KEEP_CAPS locked off
_SET_MODE_FILTER = 1
_INSTRUCTION_BYTES = 8
_OPEN_FILES = 64
_STACK_BYTES = 8 * 2**20


def give_up_root(uid: int, gid: int) -> None:
    """Become an ordinary user for good.

    Raises:
        OSError: this root may not, as in a container without CAP_SETUID.
    """
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def forbid_capabilities(*, privileged: bool) -> None:
    """Make sure that neither this process nor any that comes from it gains privileges again.

    `privileged` says that it has CAP_SETPCAP, without which the bounding set stays, and is of no use to anybody.
    """
    libc.prctl(libc.PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    if privileged:
        libc.prctl(libc.PR_SET_SECUREBITS, _SECUREBITS)
        _drop_bounding_set()
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)


def _drop_bounding_set() -> None:
    """Empty the set of capabilities that a program could be started with."""
    for capability in range(64):
        try:
            libc.prctl(libc.PR_CAPBSET_DROP, capability)
        except OSError:
            if capability == 0:
                raise
            break  # beyond the last one that the kernel knows


drop_capabilities = libc.prepared("capset", _CAPABILITY_HEADER, _NO_CAPABILITIES)
"""Give up every capability that this process holds."""

_CEILINGS = {
    kind: sys.maxsize if (hard := resource.getrlimit(kind)[1]) == resource.RLIM_INFINITY else hard
    for name, kind in vars(resource).items()
    if name.startswith("RLIMIT_")
}


def limit_resources(*, address_bytes: int, cpu_s: int, file_bytes: int) -> None:
    """Set the limits of a child, soft and hard; beyond `cpu_s` comes SIGXCPU, a second later SIGKILL."""
    for kind, most in (
        (resource.RLIMIT_AS, address_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, 1),
    ):
        _limit(kind, most)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))


def limit_common_resources() -> None:
    """Set the limits that the zygote can live with too; its children inherit them."""
    _limit(resource.RLIMIT_STACK, _STACK_BYTES)
    for kind in (
        resource.RLIMIT_CORE,
        resource.RLIMIT_MEMLOCK,
        resource.RLIMIT_MSGQUEUE,
        resource.RLIMIT_NICE,
        resource.RLIMIT_RTPRIO,
    ):
        _limit(kind, 0)


def _limit(kind: int, most: int) -> None:
    most = min(most, _CEILINGS[kind])
    resource.setrlimit(kind, (most, most))


class Filter:
    """A system-call filter of classic BPF, ready to be laid."""

    def __init__(self, program: bytes) -> None:
        self._code = ctypes.create_string_buffer(program, len(program))
        header = struct.pack("=H6xQ", len(program) // _INSTRUCTION_BYTES, ctypes.addressof(self._code))
        self._call = libc.prepared("seccomp", _SET_MODE_FILTER, 0, header)

    def lay(self) -> None:
        """Lay it on this process, for good; needs `no_new_privs`. The last wall to be set."""
        self._call()
