"""Tier N: a root with nothing in it but Python, no network, no other processes, a user that owns nothing.

1. The root is a small read-only tmpfs with read-only binds of what Python needs: no /proc, /sys, /etc, /bin, and no
   folder of shared libraries (what is needed of them is loaded before). Covered folders show nothing.
2. As root, the mounts are made first (only root may read where the interpreter lives), then root is given up for an
   ordinary user, who makes the user namespace: mounts that come from above it are locked. An ordinary user makes the
   user namespace first. Either way the process maps its own uid, once, and writes the map itself: it kept a descriptor
   of its folder in /proc, which it closes then.
3. The pid namespace takes effect for the next child: the caller forks, and the child is its pid 1.
"""

import os
import stat
from _socket import sethostname
from collections.abc import Iterable

from moesaic.tools.sandbox.inside import libc, privileges

__all__ = ["SCRATCH", "SCRATCH_PARENT", "enter", "enter_own_pids", "mount_scratch", "next_child_alone"]

SCRATCH_PARENT = "/w"
"""Folder that Landlock's rule is about: a rule on a mount point itself would not count."""
SCRATCH = f"{SCRATCH_PARENT}/s"
"""Working directory of programs, where a child may have a tmpfs of its own."""

_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND = 1, 2, 4, 8, 32, 4096
_REC, _PRIVATE, _RELATIME = 16384, 1 << 18, 1 << 21
_DETACH = 2
_KEPT = {_RDONLY: _RDONLY, _NOSUID: _NOSUID, _NODEV: _NODEV, _NOEXEC: _NOEXEC, 1024: 1024, 2048: 2048, 4096: _RELATIME}
"""Flags of `statvfs` and of `mount`: a user namespace may not take away what is set."""

_MOUNT_POINTS = ("/sys", "/mnt", "/run", "/tmp")
_NULL = "/dev/null"


def enter(visible: Iterable[str], covered: Iterable[str], *, uid: int, gid: int) -> None:
    """Leave the machine behind; `uid` and `gid` are what root becomes, others stay who they are.

    Raises:
        OSError: the kernel lacks or refuses a step; its text names it.
    """
    others = _NEWNS | _NEWCGROUP | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET
    own_folder = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.geteuid() == 0:
            libc.unshare(_NEWNS)
            _build_root(visible, covered)
            privileges.give_up_root(uid, gid)
            libc.prctl(libc.PR_SET_DUMPABLE, 1)  # else its files in /proc belong to root
            libc.unshare(_NEWUSER | others)
            _map_ids(own_folder, uid, gid)
        else:
            uid, gid = os.geteuid(), os.getegid()
            libc.unshare(_NEWUSER | others)
            _map_ids(own_folder, uid, gid)
            _build_root(visible, covered)
    finally:
        os.close(own_folder)
    sethostname("sandbox")


def _map_ids(own_folder: int, uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        descriptor = os.open(name, os.O_WRONLY, dir_fd=own_folder)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def _build_root(visible: Iterable[str], covered: Iterable[str]) -> None:
    visible = [path for path in visible if os.path.exists(path)]
    point = next(
        point
        for point in _MOUNT_POINTS
        if os.path.isdir(point) and not any(f"{path}/".startswith(f"{point}/") for path in visible)
    )
    sealed = _NOSUID | _NODEV | _NOEXEC
    libc.mount(None, "/", None, _REC | _PRIVATE)
    libc.mount("tmpfs", point, "tmpfs", sealed, "size=1m,nr_inodes=512,mode=755")
    covers = []
    for path in visible:
        _bind(path, point + path, _RDONLY | _NOSUID | _NODEV)
        for cover in covered:
            # Packages that may be seen are bound into the cover later.
            if cover.startswith(f"{path}/") and os.path.isdir(point + cover):
                libc.mount("tmpfs", point + cover, "tmpfs", sealed, "size=64k,nr_inodes=64,mode=755")
                covers.append(cover)
    for cover in covers:
        libc.mount(None, point + cover, None, _REMOUNT | _BIND | _RDONLY | sealed)
    _bind(_NULL, point + _NULL, _NOSUID)
    os.makedirs(point + SCRATCH)
    os.chdir(point)
    libc.pivot_root(".", ".")  # the former root now lies on top of the new one
    libc.umount(".", _DETACH)
    libc.mount(None, "/", None, _REMOUNT | _BIND | _RDONLY | sealed)
    os.chdir(SCRATCH)


def _bind(source: str, target: str, flags: int) -> None:
    if stat.S_ISDIR(os.stat(source).st_mode):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    libc.mount(source, target, None, _BIND)
    present = os.statvfs(target).f_flag
    for shown, kept in _KEPT.items():
        flags |= kept if present & shown else 0
    libc.mount(None, target, None, _REMOUNT | _BIND | flags)


def next_child_alone() -> None:
    """Let the next child be alone in a pid namespace; `enter_own_pids` must follow the fork."""
    libc.unshare(_NEWPID)


def enter_own_pids(own: int) -> None:
    """Take that back for later children; `own` is a pid descriptor of this process."""
    libc.setns(own, _NEWPID)


def mount_scratch(size_bytes: int) -> None:
    """Give this process alone a writable working directory in memory."""
    libc.unshare(_NEWNS)
    options = f"size={size_bytes},nr_inodes=256,mode=700"
    libc.mount("tmpfs", SCRATCH, "tmpfs", _NOSUID | _NODEV | _NOEXEC, options)
    os.chdir(SCRATCH)
