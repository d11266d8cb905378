"""What the zygote imports before programs are there, and which packages programs may import.

Children share these modules with the zygote, page by page, so that an import costs them nothing. Tier S cannot open
files at all: there, what is not here cannot be imported. Only the packages of `PACKAGES` can be found, whatever else
is installed beside them.
"""

import importlib
import importlib.machinery
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType

__all__ = ["PACKAGES", "PackageFinder", "forget_machine", "import_modules", "warm_up"]

PACKAGES = ("dateutil", "mpmath", "numpy", "six", "sympy")
"""Packages of the scientific zygote, the ones that they need included."""

_BASE = (
    "calendar collections contextlib copy datetime decimal enum fractions functools heapq itertools json "
    "linecache math operator random re statistics string textwrap time traceback typing warnings "
    "_bz2 _lzma zlib"  # whose shared libraries would be out of sight later
)
"""What most programs import, and no more: every library that is mapped makes every fork slower."""
_SEALED = (
    "abc argparse array ast asyncio base64 bisect bz2 cmath colorsys configparser csv dataclasses difflib email.utils "
    "fnmatch gettext glob graphlib gzip hashlib hmac html http.client inspect io ipaddress locale logging lzma "
    "mmap multiprocessing numbers os pathlib pickle platform pprint pty queue resource sched secrets select shelve "
    "shutil signal socket sqlite3 ssl struct subprocess symtable sysconfig tempfile threading timeit tomllib types "
    "unicodedata unittest urllib.parse urllib.request uuid weakref xml.etree.ElementTree zoneinfo "
    "encodings.idna encodings.latin_1 encodings.ascii encodings.utf_16 _strptime"
)
"""What is imported besides where nothing can be opened later."""
_SCIENTIFIC = (
    "numpy numpy.fft numpy.linalg numpy.polynomial numpy.random sympy sympy.parsing.sympy_parser sympy.stats mpmath "
    "dateutil.parser dateutil.relativedelta dateutil.rrule dateutil.easter dateutil.tz"
)

_SAMPLE = """
from sympy import *
x, y = symbols("x y")
n = symbols("n", integer=True, positive=True)
solve(x**2 - 5 * x + 6, x), solve([x + y - 10, x - y - 2], [x, y]), solve(Eq(3 * x, x + 8), x)
integrate(sin(x) * x, x), integrate(x**2, (x, 0, 1)), diff(exp(x) * cos(x), x), limit(sin(x) / x, x, 0)
simplify(sin(x) ** 2 + cos(x) ** 2), factor(x**3 - 1), expand((x + 1) ** 3), summation(n, (n, 1, 10))
Rational(1, 3) + Rational(1, 6), N(pi, 20), Matrix([[1, 2], [3, 4]]).inv(), factorint(360), isprime(97), latex(x / y)
nsolve(cos(x) - x, 1), Eq(x, 1), str(sqrt(8)), Float("1.5"), solveset(x**2 - 1, x), binomial(5, 2), factorial(5)
import numpy as np
m = np.array([[1.0, 2.0], [3.0, 4.0]])
str(np.linalg.solve(m, np.ones(2))), m @ m, m.mean(), np.arange(5).sum(), np.linalg.eigvals(m), np.linspace(0, 1, 5)
from dateutil.relativedelta import relativedelta
from dateutil.parser import parse
parse("2024-02-29 10:00") + relativedelta(months=1)
"""


class PackageFinder:
    """Finds the allowed top-level packages where the server says that they lie, and nothing else."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = dict(folders)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Where a top-level package lies, None if it is not one of the allowed."""
        folder = self._folders.get(name)
        return None if path is not None or folder is None else importlib.machinery.PathFinder.find_spec(name, [folder])


def import_modules(*, scientific: bool, sealed: bool, folders: Mapping[str, str]) -> list[str]:
    """Import what programs will want; returns what of it is not installed here."""
    sys.meta_path.append(PackageFinder(folders))
    missing = []
    for name in f"{_BASE} {_SEALED if sealed else ''} {_SCIENTIFIC if scientific else ''}".split():
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    return missing


def forget_machine() -> None:
    """Forget what libraries have noted about this machine, its name above all."""
    if noted := sys.modules.get("platform"):
        noted._uname_cache = noted.uname_result("Linux", "sandbox", "", "", noted.machine())  # type: ignore[attr-defined]


def warm_up(*, scientific: bool) -> None:
    """Use what was imported once: first calls import further modules and fill caches, which children then share."""
    from datetime import date, datetime

    str(datetime.strptime("2024-02-29", "%Y-%m-%d") - datetime(2024, 1, 1)), date(2024, 1, 1).strftime("%A %d %B")
    if scientific and "sympy" in sys.modules and "numpy" in sys.modules and "dateutil" in sys.modules:
        exec(compile(_SAMPLE, "<warm-up>", "exec"), {"__name__": "__warm_up__"})
