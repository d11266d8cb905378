"""Ways to run a program of ten lines: this project's sandbox, and what others offer, wherever it is installed.

Each way gets the text, and must give back the value: one that gives another is a fault of the benchmark, not a time.
`insecure` ways keep nothing in: they show what the walls cost.
"""

import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from moesaic.tools.sandbox import ExecutionStatus, Sandbox, SandboxConfig

__all__ = ["CONFIG", "OURS", "PROGRAM", "VALUE", "Way", "missing_ways", "opened_ways", "run_in"]

OURS = "moesaic"

CONFIG = SandboxConfig(timeout_s=60.0)
"""The defaults, but for the longest time of a program: one that is not scheduled for seconds is slow, no failure."""

PROGRAM = """\
from datetime import date, timedelta
def workdays(start, days):
    found = []
    while len(found) < days:
        if start.weekday() < 5:
            found.append(start)
        start += timedelta(days=1)
    return found
lessons = workdays(date(2024, 2, 26), 12)
result = [str(lessons[-1]), sum(day.day for day in lessons)]
"""
"""A program as a model writes it to compute an answer; every way can run it."""

VALUE = ["2024-03-12", 164]
"""What it answers."""

_PRINTED = f"{PROGRAM}import json\nprint(json.dumps(result))\n"
_ASKED = f"{PROGRAM}result\n"

Run = Callable[[], object]


class Way(NamedTuple):
    """One way, open for use."""

    name: str
    kind: str
    """What it is: `sandbox`, `subset` (an interpreter of a part of Python) or `insecure`."""
    run: Run
    """Runs `PROGRAM` once and gives back its value."""


def run_in(sandbox: Sandbox) -> object:
    """The program's value in a sandbox of ours."""
    execution = sandbox.run(PROGRAM)
    if execution.status is not ExecutionStatus.OK:
        raise RuntimeError(f"the program ended as {execution.status}: {execution.error}")
    return execution.value


@contextmanager
def _ours() -> Iterator[Run]:
    with Sandbox(CONFIG) as sandbox:
        yield lambda: run_in(sandbox)


@contextmanager
def _bubblewrap() -> Iterator[Run]:
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/", "/"]
    command += ["--proc", "/proc", "--dev", "/dev", sys.executable, "-I", "-c", _PRINTED]
    yield lambda: _printed(command)


@contextmanager
def _subprocess() -> Iterator[Run]:
    yield lambda: _printed([sys.executable, "-I", "-c", _PRINTED])


def _printed(command: list[str]) -> object:
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


@contextmanager
def _smolagents() -> Iterator[Run]:
    module = importlib.import_module("smolagents.local_python_executor")

    def run() -> object:
        executor = module.LocalPythonExecutor(additional_authorized_imports=["datetime"])  # its state would stay
        executor.send_tools({})
        outcome: Any = executor(_ASKED)
        return outcome.output

    yield run


@contextmanager
def _monty() -> Iterator[Run]:
    module = importlib.import_module("pydantic_monty")
    with module.Monty(min_processes=2) as pool:

        def run() -> object:
            with pool.checkout() as session:
                value: object = session.feed_run(_ASKED)
                return value

        yield run


@contextmanager
def _langchain() -> Iterator[Run]:
    module = importlib.import_module("langchain_experimental.utilities")
    # It runs the text with two scopes, in which a function does not see what was imported above it.
    text = f"exec({_PRINTED!r}, {{}})"
    yield lambda: json.loads(module.PythonREPL().run(text))


class _Offer(NamedTuple):
    kind: str
    needs: str
    open: Callable[[], Any]


_OFFERS: Mapping[str, _Offer] = {
    OURS: _Offer("sandbox", "", _ours),
    "bubblewrap, one per run": _Offer("sandbox", "bwrap", _bubblewrap),
    "pydantic-monty": _Offer("subset", "pydantic_monty", _monty),
    "smolagents LocalPythonExecutor": _Offer("insecure", "smolagents", _smolagents),
    "python3 -I": _Offer("insecure", "", _subprocess),
    "langchain PythonREPL": _Offer("insecure", "langchain_experimental", _langchain),
}


def _is_there(offer: _Offer) -> bool:
    return not offer.needs or shutil.which(offer.needs) is not None or importlib.util.find_spec(offer.needs) is not None


def missing_ways() -> dict[str, str]:
    """Names of the ways that are not to be had here, and what they need."""
    return {name: offer.needs for name, offer in _OFFERS.items() if not _is_there(offer)}


@contextmanager
def opened_ways() -> Iterator[list[Way]]:
    """Every way that is there, tried once.

    Raises:
        RuntimeError: one of them answers something else.
    """
    with ExitStack() as stack:
        ways = []
        for name, offer in _OFFERS.items():
            if _is_there(offer):
                way = Way(name, offer.kind, stack.enter_context(offer.open()))
                if (value := way.run()) != VALUE:
                    raise RuntimeError(f"{name} answered {value!r} instead of {VALUE!r}")
                ways.append(way)
        yield ways
