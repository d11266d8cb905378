"""`make demo` from nothing, and again: how long a stranger waits."""

import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DemoTimes", "time_demo"]

_ROOT = Path(__file__).resolve().parents[1]
_LONGEST_S = 1800


@dataclass(frozen=True, kw_only=True)
class DemoTimes:
    """Seconds of the two runs."""

    cold_s: float
    """Into an empty folder, with what the package installer keeps of earlier downloads."""
    warm_s: float
    """Again, in the same folder."""


def time_demo(work: Path, notice: Callable[[str], None]) -> DemoTimes:
    """Run the demo twice in a copy of the last commit below `work`.

    Raises `RuntimeError` if it fails; its output is in the message.
    """
    folder = work.resolve() / "demo-copy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    packed = subprocess.run(["git", "archive", "HEAD"], cwd=_ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    cold_s = _timed(folder)
    notice(f"cold {cold_s:.0f} s")
    warm_s = _timed(folder)
    notice(f"warm {warm_s:.0f} s")
    shutil.rmtree(folder)
    return DemoTimes(cold_s=cold_s, warm_s=warm_s)


def _timed(folder: Path) -> float:
    began = time.monotonic()
    # Else the base of an earlier demo on this machine would be found, and the first run would not be one from nothing.
    environment = os.environ | {"MOESAIC_KB_HOME": str(folder / "kb")}
    done = subprocess.run(
        ["make", "demo"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"make demo ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return time.monotonic() - began
