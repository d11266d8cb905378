"""Where the zygote finds Python and the packages, and which programs need which of them."""

import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from moesaic.tools.sandbox.inside.modules import PACKAGES

__all__ = ["Interpreter", "locate_interpreter", "needs_packages"]

_ZONES = "/usr/share/zoneinfo"
_MENTION = re.compile(rf"\b(?:{'|'.join(PACKAGES)})\b")


class Interpreter(NamedTuple):
    """What the sandbox may see of the machine, every path as it is inside too."""

    executable: str
    """The interpreter that runs this process."""
    visible: Sequence[str]
    """Folders and files to show: the standard library, time zones, and the packages asked for."""
    covered: Sequence[str]
    """Folders below them that show nothing: whatever else is installed."""
    packages: Mapping[str, str]
    """Each package's name and the folder that it lies in."""


def locate_interpreter(*, packages: bool) -> Interpreter:
    """Find them without importing a package; those that are not installed are left out."""
    paths = dict.fromkeys((sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")))
    visible, folders = [*paths, _ZONES], {}
    for name in PACKAGES if packages else ():
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None or not os.path.isfile(spec.origin):
            continue
        place = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        folders[name] = str(place.parent)
        visible.append(str(place))
    covered = [f"{path}/{name}" for path in paths for name in ("site-packages", "dist-packages")]
    return Interpreter(sys.executable, visible, covered, folders)


def needs_packages(program: str) -> bool:
    """Whether a program goes to the scientific zygote: it names one of the packages, wherever that is.

    This is routing and no wall: a wrong guess costs a program an import, or a few milliseconds. The text is searched,
    not parsed: Python's parser has limits that a hostile text could break this process with.
    """
    return _MENTION.search(program) is not None
