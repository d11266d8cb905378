"""Python as an ordinary user runs it: without privileges, and with an interpreter that such a user can read.

Where the tests run as root, the interpreter may lie in a folder that only root can enter. `become` then gives this
process a mount namespace of its own in which that folder is replaced by one that shows the interpreter alone. Nothing
of the machine is changed.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from moesaic.tools.sandbox.inside import libc
from tests.repository import ROOT

__all__ = ["become", "run_as_ordinary_user"]

_NOBODY = 65534
_NEWNS, _BIND, _REC, _PRIVATE = 0x20000, 4096, 16384, 1 << 18
_OTHERS_MAY_ENTER = 0o001
_BOOT = """
import os, sys
from pathlib import Path
from tests.tools.sandbox.ordinary_user import become
become(int(sys.argv[1]), [Path(sys.argv[2])])
os.environ["HOME"] = "/"
os.execv(sys.executable, [sys.executable, "-B", "-c", sys.argv[3]])
"""


def become(user: int, needed: Sequence[Path]) -> None:
    """Turn this process, root's, into one of `user` that can read the interpreter and the folders in `needed`.

    What was opened before stays open, and memory keeps what it held: start another program then.
    """
    libc.unshare(_NEWNS)
    libc.mount(None, "/", None, _REC | _PRIVATE)
    closed: dict[Path, list[Path]] = {}
    for path in (Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), *needed):
        barred = [folder for folder in (*reversed(path.parents), path) if not _can_be_entered(folder)]
        if barred:
            closed.setdefault(barred[0], []).append(path)
    for folder, paths in closed.items():
        kept = {path: os.open(path, os.O_PATH) for path in paths}
        libc.mount("tmpfs", str(folder), "tmpfs", 0, "mode=755")
        for path, descriptor in kept.items():
            path.mkdir(parents=True, exist_ok=True)
            libc.mount(f"/proc/self/fd/{descriptor}", str(path), None, _BIND | _REC)
            os.close(descriptor)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _can_be_entered(folder: Path) -> bool:
    return bool(folder.stat().st_mode & _OTHERS_MAY_ENTER)


def run_as_ordinary_user(code: str, *, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    """Run Python text in a process of an ordinary user, in the root of the repository."""
    command = [sys.executable, "-B", "-c", code]
    if os.geteuid() == 0:
        command = [sys.executable, "-B", "-c", _BOOT, str(_NOBODY), str(ROOT), code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
