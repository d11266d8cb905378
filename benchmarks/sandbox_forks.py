"""How often this machine can fork a process that is as small as the sandbox's own, and let it end: the bare cost.

The process imports what the sandbox's base zygote imports, in the same way, and nothing is done in the child.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import moesaic.tools.sandbox

__all__ = ["ForkLoop", "fork_loop"]

_PROGRAM = """
import gc, json, os, sys, time
from types import ModuleType
for name in ("moesaic", "moesaic.tools", "moesaic.tools.sandbox"):
    package = sys.modules[name] = ModuleType(name)
    package.__path__ = [sys.argv[1]] if name == "moesaic.tools.sandbox" else []
from moesaic.tools.sandbox.inside import modules
modules.import_modules(scientific=False, sealed=False, folders={})
gc.collect(); gc.freeze(); gc.disable()
for line in sys.stdin:
    count, began, until = 0, time.perf_counter(), time.perf_counter() + float(line)
    while not count or time.perf_counter() < until:  # a process that is not scheduled has a rate too
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        count += 1
    print(json.dumps(count / (time.perf_counter() - began)), flush=True)
"""


class ForkLoop:
    """A process that forks when asked."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def begin(self, seconds: float) -> None:
        """Have it fork for this long."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()

    def rate(self) -> float:
        """Forks per second of what was begun last."""
        assert self._process.stdout is not None
        return float(json.loads(self._process.stdout.readline()))

    @property
    def resident_bytes(self) -> int:
        """Its resident memory."""
        fields = Path(f"/proc/{self._process.pid}/statm").read_text().split()
        return int(fields[1]) * 4096


@contextmanager
def fork_loop() -> Iterator[ForkLoop]:
    """Have one for the block."""
    folder = str(Path(moesaic.tools.sandbox.__file__).parent)
    command = [sys.executable, "-I", "-S", "-B", "-c", _PROGRAM, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            loop = ForkLoop(process)
            loop.begin(0.05)
            loop.rate()
            yield loop
        finally:
            process.kill()
